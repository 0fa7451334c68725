//! Runs a database, a broker and three hosts on this machine, to see what happens when one of them fails (`make cluster`).
#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::{fs, net::TcpListener, time::Duration};

use roost_tests::{Broker, Postgres, Roost, Site, free_port, now_ms, root};

/// How often the logs are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a host that has ended stays away, so that it is seen what the others do.
const AWAY_MS: i64 = 10_000;
/// The ports of the pages, if they are free.
const PORTS: [u16; 3] = [8081, 8082, 8083];
/// How long it takes at least until the coop opens, and then until the next whole minute.
const OPENS_MS: i64 = 45_000;

/// A machine with a host.
struct Machine {
    number: usize,
    site: Site,
    page: String,
    host: Option<Roost>,
    /// How many lines of its log are printed.
    printed: usize,
    /// When it has ended.
    ended_ms: i64,
}

fn main() {
    let server = Postgres::new();
    let database = server.database("roost");
    let broker = Broker::new();
    let make = |(number, port)| Machine::new(number, port, &database);
    let mut machines: Vec<Machine> = (1..).zip(PORTS).map(make).collect();
    machines.iter_mut().for_each(|machine| machine.start(&broker));
    // The one that owns the cell takes the plugins.
    let owner = loop {
        let is_connected =
            |machine: &&Machine| machine.lines().iter().any(|line| line.contains("connected to the broker"));
        if let Some(owner) = machines.iter().find(is_connected) {
            break owner;
        }
        std::thread::sleep(LOOK);
    };
    owner.install();
    explain(&broker, &database, &machines);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let end = tokio::signal::ctrl_c();
        tokio::pin!(end);
        while tokio::time::timeout(LOOK, &mut end).await.is_err() {
            machines.iter_mut().for_each(|machine| machine.look(&broker));
        }
    });
    println!("\nending all of it");
    for host in machines.iter_mut().filter_map(|machine| machine.host.take()) {
        host.stop();
    }
}

fn explain(broker: &Broker, database: &str, machines: &[Machine]) {
    let psql = format!("psql {database} -c 'SELECT epoch, owner FROM cells'");
    println!("\nPostgreSQL  {database}\nMosquitto   {}", broker.url());
    for Machine { number, page, host, .. } in machines {
        println!("host {number}      {page}  process {}", host.as_ref().map_or(0, Roost::id));
    }
    println!(
        "\n\
         see the messages    mosquitto_sub -h 127.0.0.1 -p {} -t '#' -v\n\
         see the claim       {psql}\n\
         see the hosts       ROOST_URL={} {} hosts\n\
         stop a host         kill PROCESS              another one works within a second\n\
         kill a host         kill -9 -- -PROCESS       after about five seconds\n\
         suspend it          kill -STOP -- -PROCESS    after about five seconds\n\
         and wake it up      kill -CONT -- -PROCESS    it sends nothing, and stands by\n\n\
         A message is due every five seconds, and the coop opens in about a minute. A host that has ended is started again \
         after ten seconds.\n\
         Ctrl-C ends everything.\n",
        broker.port,
        machines[1].page,
        roost_tests::binary().display(),
    );
}

impl Machine {
    fn new(number: usize, port: u16, database: &str) -> Self {
        let port = TcpListener::bind(("127.0.0.1", port)).map_or_else(|_| free_port(), |_| port);
        let site = Site::new();
        fs::write(site.path().join("roost.toml"), format!("[store]\nurl = \"{database}\"\n")).expect("a file");
        Self { number, site, page: format!("http://127.0.0.1:{port}"), host: None, printed: 0, ended_ms: 0 }
    }

    fn start(&mut self, broker: &Broker) {
        let http = self.page.trim_start_matches("http://");
        self.host = Some(self.site.start_with(&["--mqtt", &broker.url(), "--http", http]));
        self.printed = 0;
    }

    fn lines(&self) -> Vec<String> {
        self.host.iter().flat_map(|host| host.log.all()).collect()
    }

    /// Installs the samples in all hosts, with a coop that opens soon.
    fn install(&self) {
        for name in ["coop-door", "greenhouse", "sprinkler", "timers"] {
            let settings = fs::read_to_string(root().join(format!("plugins/{name}.toml"))).expect("a sample");
            self.site.settings(name, &settings);
            self.site.drop_in(&roost_tests::sample(name), name);
        }
        let minute = (now_ms() + OPENS_MS) / 60_000 + 1;
        let opens = format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
        let coop = format!(
            "[config]\nopen_at = \"{opens}\"\nopen_not_before = \"{opens}\"\n\
             [[device]]\nname = \"north\"\ntime_zone = \"UTC\"\n"
        );
        self.site.settings("coop-door", &coop);
        let clock = "[[device]]\nname = \"house\"\n[[device.config.job]]\nid = \"clock\"\ntrigger = \"every 5s\"\n\
                     topic = \"timers/house/clock\"\npayload = \"tick\"\n";
        self.site.settings("timers", clock);
        self.site.roost(&["adopt", "plugins"]);
    }

    /// Prints what the host has logged, and starts it again a while after its end.
    fn look(&mut self, broker: &Broker) {
        let number = self.number;
        let lines = self.lines();
        for line in &lines[self.printed..] {
            println!("host {number}  {line}");
        }
        self.printed = lines.len();
        if self.host.as_mut().is_some_and(Roost::has_ended) {
            println!("host {number}  has ended");
            (self.host, self.printed, self.ended_ms) = (None, 0, now_ms());
        }
        if self.host.is_none() && now_ms() > self.ended_ms + AWAY_MS {
            self.start(broker);
            println!("host {number}  is started again: process {}", self.host.as_ref().map_or(0, Roost::id));
        }
    }
}
