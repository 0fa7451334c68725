// A version of aedes at a port of this machine's loopback, from the packages in the current folder.
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { pathToFileURL } from 'node:url'

const [name, port] = process.argv.slice(2)
const { default: old, Aedes } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve(name)))
const broker = Aedes ? await Aedes.createBroker() : old()
createServer({ noDelay: true }, broker.handle).listen(Number(port), '127.0.0.1')
