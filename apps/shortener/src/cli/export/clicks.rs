//! The clicks of the stream.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::clicks::jetstream::Stream;

/// Writes all clicks that are in the stream now to the standard output, a JSON object a line.
pub(super) fn write(config: Option<&Path>) -> anyhow::Result<()> {
    let config = super::super::config(config)?;
    let url =
        config.nats.context("clicks are in a stream only with `nats` in the configuration")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = Stream::open(&url, "export", 0).await.context("NATS cannot be used")?;
        stream.connected().await?;
        let mut out = BufWriter::new(io::stdout().lock());
        stream
            .all(|lines| {
                out.write_all(lines)?;
                Ok(())
            })
            .await?;
        Ok(out.flush()?)
    })
}
