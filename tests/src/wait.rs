//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::SignedDuration;

use crate::system::System;

/// How long a condition may take to come true on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Looks before business time is moved as well: most conditions come true without.
const LOOKS_BEFORE_TICK: u32 = 8;

impl System {
    /// Waits until `look` finds something.
    ///
    /// What does not come at once may wait for a back-off or a lease, and those go by business time; so the clock is
    /// moved by a second every few looks. Fails, naming `what`, when nothing was found in time.
    pub async fn eventually<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        self.wait(what, SignedDuration::from_secs(1), &mut look).await
    }

    /// [`System::eventually`] without moving the clock.
    pub async fn eventually_now<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        self.wait(what, SignedDuration::ZERO, &mut look).await
    }

    async fn wait<T>(
        &self,
        what: &str,
        tick: SignedDuration,
        look: &mut impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let mut looks = 0_u32;
        let mut last = None;
        while start.elapsed() < LIMIT {
            match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => last = None,
                // A service that is starting again answers soon.
                Err(error) => last = Some(error),
            }
            looks += 1;
            if !tick.is_zero() && looks.is_multiple_of(LOOKS_BEFORE_TICK) {
                self.advance(tick).await?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match last {
            Some(error) => Err(error.context(format!("this never came true: {what}"))),
            None => bail!("this never came true: {what}\n{}", self.log_tail()),
        }
    }
}
