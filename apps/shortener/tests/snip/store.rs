//! The store: one contract for both databases, and their worst days.

use std::future::Future;

use seawall_testkit::Postgres;

pub(crate) mod contract;
mod crash;
mod postgres;
mod sqlite;

/// All cases on one real server, each in a database of its own.
#[test]
fn the_contract_holds_on_postgres() {
    let server = Postgres::start().expect("a server");
    block_on(async {
        for (name, case) in contract::cases() {
            let database = server.database().expect("a database");
            eprintln!("{name} in {database}");
            case(contract::Place::new(server.url_of(&database))).await;
        }
    });
}

/// Runs `work` on a runtime such as the program has.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}
