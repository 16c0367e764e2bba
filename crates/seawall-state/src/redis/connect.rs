//! A connection to the server, opened and made ready.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisError, Value, cmd,
};

use crate::StateError;
use crate::lease::Key;

use super::script::{Scripts, plain};
use super::trouble::Trouble;

/// How long opening a connection and making it ready may take.
const OPENING: Duration = Duration::from_secs(1);

/// How long the control thread waits for an answer. A server that takes longer is away.
pub(super) const ANSWER: Duration = Duration::from_millis(500);

/// Where the server is, and what things are called there.
pub(super) struct Server {
    client: Client,
    /// For the log: without user and password.
    pub(super) address: String,
    /// With a colon at its end.
    prefix: String,
    /// The name of this node.
    node: String,
}

/// Takes messages of channels. It must not block.
pub(super) type Pushes = Box<dyn Fn(PushInfo) + Send + Sync>;

/// An open connection. Clones are the same connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) wire: MultiplexedConnection,
    pub(super) scripts: Scripts,
}

impl Server {
    pub(super) fn new(url: &str, prefix: &str) -> Result<Server, StateError> {
        let info = url.into_connection_info().map_err(|error| unusable(&error))?;
        let address = match info.addr() {
            ConnectionAddr::Unix(path) => path.display().to_string(),
            address => address.to_string(),
        };
        // Protocol 3 carries messages of channels beside answers; it is as old as Redis 6.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = settings.set_lib_name("seawall", env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(settings);
        let client = Client::open(info).map_err(|error| unusable(&error))?;
        let node = format!("{:016x}", fastrand::u64(..));
        Ok(Server { client, address, prefix: format!("{prefix}:"), node })
    }

    /// What something is called in the server.
    pub(super) fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// What something of a key is called in the server.
    pub(super) fn name_of(&self, kind: &str, key: Key) -> String {
        format!("{}{kind}:{}", self.prefix, data_encoding::HEXLOWER.encode(&key.0))
    }

    /// Opens a connection. Messages of channels go to `pushes`.
    pub(super) async fn connect(&self, pushes: Option<Pushes>) -> Result<Connection, Trouble> {
        // Time limits are set around each use instead.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_concurrency_limit(IN_FLIGHT);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(move |push| {
                pushes(push);
                Ok::<(), Infallible>(())
            });
        }
        let opening = async {
            let mut wire =
                self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let scripts = Scripts::load(&mut wire).await?;
            Ok(Connection { wire, scripts })
        };
        self.within(OPENING, opening).await
    }

    /// Sees that the server takes writes, and leaves a word that this node is there.
    pub(super) async fn write(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let mut set = cmd("SET");
        set.arg(self.name(&format!("node:{}", self.node))).arg(1).arg("PX").arg(10_000);
        self.ask(connection, &set).await.map(drop)
    }

    /// Sends a command of the control thread.
    pub(super) async fn ask(
        &self,
        connection: &mut Connection,
        command: &Cmd,
    ) -> Result<Value, Trouble> {
        let answer = async { plain(connection.wire.req_packed_command(command).await) };
        self.within(ANSWER, answer).await
    }

    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome.map_err(|error| Trouble::of(&error, &self.address)),
            Err(_) => Err(Trouble::Silent { address: self.address.clone(), limit }),
        }
    }
}

/// Why a URL cannot be used. It says nothing of the URL itself, which may have a password in it.
fn unusable(error: &RedisError) -> StateError {
    let text = error.to_string();
    // What stands behind it is the kind of the error, as the code calls it.
    StateError::Url(text.split(" - ").next().unwrap_or_default().to_owned())
}

/// Commands that may be on their way at once; more wait, as long as they are patient.
const IN_FLIGHT: usize = 1_024;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
