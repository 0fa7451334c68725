// aedes at a port of this machine's loopback, from the packages in the current folder.
import { createServer } from 'node:net'
import { pathToFileURL } from 'node:url'

const { Aedes } = await import(pathToFileURL('node_modules/aedes/aedes.js'))
const broker = await Aedes.createBroker()
createServer({ noDelay: true }, broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
