//! The scripts that run in the server, where several steps must be one. Each is loaded when a
//! connection is opened and called by its hash.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};

/// A script and what it is called by.
#[derive(Debug, Clone)]
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// All scripts, as one connection knows them.
#[derive(Debug, Clone)]
pub(super) struct Scripts {
    pub(super) read: Script,
    pub(super) tell: Script,
    pub(super) take: Script,
    pub(super) give: Script,
    pub(super) extend: Script,
}

impl Scripts {
    pub(super) async fn load(
        connection: &mut MultiplexedConnection,
    ) -> Result<Scripts, RedisError> {
        Ok(Scripts {
            read: Script::load(connection, READ).await?,
            tell: Script::load(connection, TELL).await?,
            take: Script::load(connection, TAKE).await?,
            give: Script::load(connection, GIVE).await?,
            extend: Script::load(connection, EXTEND).await?,
        })
    }
}

impl Script {
    async fn load(
        connection: &mut MultiplexedConnection,
        text: &'static str,
    ) -> Result<Script, RedisError> {
        let hash = cmd("SCRIPT").arg("LOAD").arg(text).query_async(connection).await?;
        Ok(Script { text, hash })
    }

    /// What it is called by.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Runs it; `fill` adds the keys and the arguments.
    pub(super) async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        keys: usize,
        fill: impl Fn(&mut Cmd),
    ) -> Result<Value, RedisError> {
        let mut call = cmd("EVALSHA");
        call.arg(&self.hash).arg(keys);
        fill(&mut call);
        let outcome = plain(connection.req_packed_command(&call).await);
        match outcome {
            // Somebody flushed the scripts.
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                let mut call = cmd("EVAL");
                call.arg(self.text).arg(keys);
                fill(&mut call);
                plain(connection.req_packed_command(&call).await)
            }
            outcome => outcome,
        }
    }
}

/// An error of the server is an error, wherever it stands.
pub(super) fn plain(outcome: Result<Value, RedisError>) -> Result<Value, RedisError> {
    outcome.and_then(Value::extract_error)
}

/// Bytes of what a lease says: its token, and 16 bytes of where the stream stood when it was given.
/// One byte more says that somebody waits for its end.
pub(super) const LEASE_BYTES: usize = 24;

/// What is new in the stream of purges.
///
/// `KEYS`: the stream. `ARGV`: where the reader is (16 bytes of incarnation and number, or
/// nothing), the id of that entry, at most how many, and an incarnation in case the stream has to
/// be begun. It gives back the place and the id of the last entry, and the new entries.
const READ: &str = "
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 then
  redis.call('XADD', KEYS[1], '*', 'p', ARGV[4] .. struct.pack('>I8', 0), 'k', '', 'm', '')
  last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
end
local place, id = last[1][2][2], last[1][1]
if ARGV[1] == '' or ARGV[1] == place then
  return {place, id, {}}
end
local new = redis.call('XREAD', 'COUNT', ARGV[3], 'STREAMS', KEYS[1], ARGV[2])
return {place, id, new and new[1][2] or {}}
";

/// A message for the stream of purges.
///
/// `KEYS`: the stream. `ARGV`: the entries to keep, an incarnation in case the stream has to be
/// begun, the kind, the message, the channel to call on.
const TELL: &str = "
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local place = ARGV[2] .. struct.pack('>I8', 0)
if #last > 0 then
  local before = last[1][2][2]
  local number = struct.unpack('>I8', string.sub(before, 9, 16))
  place = string.sub(before, 1, 8) .. struct.pack('>I8', number + 1)
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'p', place, 'k', ARGV[3], 'm', ARGV[4])
redis.call('PUBLISH', ARGV[5], '')
return place
";

/// Whose turn it is to fetch.
///
/// `KEYS`: the answer, the lease, the stream. `ARGV`: a token, milliseconds, the token that does not
/// count. It gives back the answer as it is, or the lease of another, with the milliseconds it has left; or the
/// lease that was given.
const TAKE: &str = "
local token = redis.call('GETRANGE', KEYS[1], 0, 7)
if token ~= '' and token ~= ARGV[3] then
  return {0, redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
end
local waited = ''
local held = redis.call('GET', KEYS[2])
if held then
  if string.sub(held, 1, 8) ~= ARGV[3] then
    if #held == 24 then redis.call('APPEND', KEYS[2], 'w') end
    return {1, string.sub(held, 1, 24), redis.call('PTTL', KEYS[2])}
  end
  waited = string.sub(held, 25)
end
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
if #last == 0 then return {3} end
local lease = ARGV[1] .. last[1][2][2]
redis.call('SET', KEYS[2], lease .. waited, 'PX', ARGV[2])
return {2, lease}
";

/// The end of a lease, with an answer or without.
///
/// `KEYS`: the answer, the lease. `ARGV`: the token, the answer, its milliseconds or 0 for none, the
/// channel to call on and what to call. It gives back whether the lease was the caller's.
const GIVE: &str = "
local held = redis.call('GET', KEYS[2])
if not held or string.sub(held, 1, 8) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '0' then
  redis.call('SET', KEYS[1], string.sub(held, 1, 24) .. ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2])
if #held > 24 then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1
";

/// More time for a lease.
///
/// `KEYS`: the lease. `ARGV`: the token, milliseconds. It gives back whether the lease was the
/// caller's.
const EXTEND: &str = "
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 8) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";
