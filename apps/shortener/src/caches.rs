//! All that is kept of links outside of the database, told of changes in the right order.

use std::fmt;
use std::sync::Arc;

use crate::edge::Purger;
use crate::link::Code;
use crate::resolve::Resolver;

/// The caches: of this process, of all instances, and in front.
#[derive(Clone)]
pub struct Caches {
    /// The look-up, with what it keeps here and in Redis.
    pub resolver: Arc<Resolver>,
    /// The caches in front.
    pub purger: Arc<Purger>,
}

impl Caches {
    /// These links have changed, or may have. To be called when the change is in the database, and
    /// before whoever made it is answered: then the next who follows the link sees the change, by
    /// way of a cache in front too. Takes a second and a half at most; what could not be told by
    /// then is told later.
    pub async fn changed(&self, codes: &[Code]) {
        // First what the caches in front are filled from.
        self.resolver.changed(codes).await;
        self.purger.purge(codes.iter().map(Code::as_str)).await;
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caches").finish_non_exhaustive()
    }
}
