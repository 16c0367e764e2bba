//! `[server]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::ZONE;
use crate::address;
use crate::nearest::nearest;
use crate::plan::{AccessLog, Secret};
use crate::rules::{Fault, Integer, List, Parsed, Password, Time};
use crate::section::section;
use crate::text::Text;

section! {
    /// Settings of the whole process. The section can be left away.
    Server {
        /// Worker threads. Each serves its own connections from beginning to end. When the key is
        /// absent there is one per core.
        optional "workers" workers: u64, Integer(1, 1024);
        /// Where the admin API listens (metrics, health, the plan, reload), or `"off"`. It must
        /// not share its port with a listener of the same address.
        default "admin" admin: AdminAt = AdminAt(None), ADMIN;
        /// The password of the admin API, usually `"${SEAWALL_ADMIN_TOKEN}"`. Every request but
        /// those for `/healthz` and `/readyz` must then have the field `Authorization: Bearer` with
        /// it. Required unless `admin` is a loopback address such as `127.0.0.1`.
        optional "admin-token" admin_token: Secret, TOKEN;
        /// How long a stopping process waits for requests in flight before it closes their
        /// connections.
        default "drain" drain: Duration = Duration::from_secs(30), Time(Duration::ZERO, LONGEST_DRAIN);
        /// Where access-log lines go: `"off"`, `"stdout"`, or the path of a file, which must
        /// contain a `/` and is relative to the working directory unless it begins with one. The
        /// file is appended to, and opened again on reload.
        default "access-log" access_log: AccessLogTo = AccessLogTo(AccessLog::Off), ACCESS_LOG;
        /// Peers whose `Forwarded` and `X-Forwarded-*` fields, and PROXY protocol headers, are
        /// believed: addresses and networks. Such peers are also exempt from `connections-per-client`. Nobody is trusted
        /// when the key is absent.
        optional "trust" trust: Vec<crate::read::At<IpNet>>, List(NETWORK, 0, 1_000);
        /// The DNS server that is asked for the names of servers; its port is 53 unless it is
        /// given. When the key is absent the system's configuration is used.
        optional "resolver" resolver: SocketAddr, RESOLVER;
        /// The zone that this process runs in, such as a data centre, usually `"${ZONE}"`. Servers
        /// of the same `zone` are preferred as long as they have room for all. Without it the zones
        /// of servers mean nothing.
        optional "zone" zone: String, ZONE;
    }
}

/// The value of `admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdminAt(pub(crate) Option<SocketAddr>);

/// The value of `access-log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessLogTo(pub(crate) AccessLog);

const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

const ADMIN: Parsed<AdminAt> = Parsed {
    kind: "an address with a port, or \"off\"",
    example: "127.0.0.1:9900",
    limits: "",
    parse: |text| match text.value.as_str() {
        "off" => Ok(AdminAt(None)),
        _ => address::listen(text).map(|address| AdminAt(Some(address))),
    },
};

impl crate::read::Show for Parsed<AdminAt> {
    fn show(&self, value: &AdminAt) -> String {
        match value.0 {
            None => "\"off\"".to_owned(),
            Some(address) => format!("\"{address}\""),
        }
    }
}

const TOKEN: Password = Password {
    what: "the token",
    least: 16,
    printable: true,
    spaced: false,
    example: "${SEAWALL_ADMIN_TOKEN}",
    limits: "at least 16 bytes of visible ASCII",
};

const ACCESS_LOG: Parsed<AccessLogTo> = Parsed {
    kind: "\"off\", \"stdout\" or a path",
    example: "stdout",
    limits: "",
    parse: access_log,
};

impl crate::read::Show for Parsed<AccessLogTo> {
    fn show(&self, value: &AccessLogTo) -> String {
        match &value.0 {
            AccessLog::Off => "\"off\"".to_owned(),
            AccessLog::Stdout => "\"stdout\"".to_owned(),
            AccessLog::File(path) => format!("\"{}\"", path.display()),
        }
    }
}

pub(super) const NETWORK: Parsed<IpNet> = Parsed {
    kind: "an address or network",
    example: "10.0.0.0/8",
    limits: "",
    parse: address::network,
};

const RESOLVER: Parsed<SocketAddr> = Parsed {
    kind: "the address of a DNS server",
    example: "10.0.0.2:53",
    limits: "",
    parse: address::resolver,
};

fn access_log(text: &Text) -> Result<AccessLogTo, Fault> {
    let value = text.value.as_str();
    let log = match value {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout,
        path if path.contains('/') && !path.ends_with('/') && !path.contains('\0') => {
            AccessLog::File(PathBuf::from(path))
        }
        _ => {
            let message =
                format!("{} is not \"off\", \"stdout\" or the path of a file", text.shown());
            let file = match value.ends_with('/') {
                true => "name a file in that folder".to_owned(),
                false => file_help(text),
            };
            let near = nearest(value, ["off", "stdout"]).filter(|_| !text.is_from_environment());
            let help = match near {
                Some(near) => format!("did you mean \"{near}\"? {file}"),
                None => file,
            };
            return Err(Fault::whole(text, message, help));
        }
    };
    Ok(AccessLogTo(log))
}

fn file_help(text: &Text) -> String {
    match text.is_from_environment() || text.value.is_empty() || text.value.contains('/') {
        true => "a file has a `/` in its path".to_owned(),
        false => format!("for a file write \"./{}\"", text.value),
    }
}
