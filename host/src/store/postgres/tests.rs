use roost_lease::{
    row::{Epoch, Fence, Owner},
    time::WallTime,
};
use roost_tests::Postgres;
use tokio_postgres::Client;

use super::*;

#[test]
fn a_commit_waits_for_the_disk_whatever_the_database_says() {
    let server = Postgres::new();
    let url: Address = server.database("fast").parse().unwrap();
    assert!(server.sql("fast", "ALTER DATABASE fast SET synchronous_commit = off"));
    let session = Session::open(&url, 0).unwrap();
    let shown = session.run(limits::QUERY, async |client: &Client| {
        Ok(client.query_one("SHOW synchronous_commit", &[]).await?.try_get::<_, String>(0)?)
    });
    assert_eq!(shown.unwrap(), "on");
    assert!(!load::may_lose_commits(&session).unwrap());
}

#[test]
fn a_pooler_that_changes_the_connection_is_noticed_by_each_transaction() {
    let server = Postgres::new();
    let url: Address = server.database("pooled").parse().unwrap();
    let mut session = Session::open(&url, 0).unwrap();
    load::prepare(&session).unwrap();
    assert!(server.sql("pooled", "UPDATE cells SET epoch = 1, owner = '00000000000000000000000000000001'"));
    let fence = Fence { epoch: Epoch(1), owner: Owner(1), clock: WallTime::from_millis(5) };
    let committed = commit::alone(&session, &fence, false);
    assert!(matches!(committed, Ok(roost_lease::event::Event::Committed { .. })), "{committed:?}");
    // As if the transaction before had been another connection's.
    session.backend += 1;
    let fault = commit::alone(&session, &fence, false).unwrap_err();
    assert!(matches!(fault, Fault::Pooled) && fault.is_lasting(), "{fault}");
}

#[test]
fn queries_share_a_few_connections() {
    let server = Postgres::new();
    let source = Source::new(server.database("busy").parse().unwrap(), 0);
    std::thread::scope(|scope| {
        for _ in 0..3 * limits::CONNECTIONS {
            scope.spawn(|| {
                let slept = source.query(|session| {
                    session.run(limits::QUERY, async |client: &Client| {
                        Ok(client.batch_execute("SELECT pg_sleep(0.1)").await?)
                    })
                });
                slept.unwrap();
            });
        }
    });
    let sessions = source.0.lock();
    assert!((1..=limits::CONNECTIONS).contains(&sessions.free.len()), "{}", sessions.free.len());
    assert_eq!(sessions.in_use, 0);
}

#[test]
fn hints_name_the_role_and_the_database_of_the_address() {
    let server = Postgres::new();
    let hint = |url: &str| {
        let address: Address = url.parse().unwrap();
        Session::open(&address, 0).unwrap_err().hint(&address)
    };
    let none = hint(&server.url("Garden-2"));
    assert!(none.ends_with("`CREATE DATABASE \"Garden-2\" OWNER roost;`"), "{none}");
    let role = hint(&server.url("postgres").replace("roost@", "eve@"));
    assert!(role.ends_with("`CREATE ROLE eve LOGIN PASSWORD '…';`"), "{role}");
    let address: Address = server.database("fixed").parse().unwrap();
    assert!(server.sql("fixed", "ALTER DATABASE fixed SET default_transaction_read_only = on"));
    let fault = load::prepare(&Session::open(&address, 0).unwrap()).unwrap_err();
    let hint = fault.hint(&address);
    assert!(hint.ends_with("`ALTER DATABASE fixed SET default_transaction_read_only = off;`"), "{fault}: {hint}");
}
