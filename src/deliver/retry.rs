//! When to try again: full jitter, so that many streams do not return to a recovering store in step.
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>)

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Somebody has to act first; asking more often would only fill logs.
const MISCONFIGURED_MAX: Duration = Duration::from_secs(15);

/// The pause before attempt `attempt + 1`. `random` is in 0..1.
pub fn pause(attempt: u32, misconfigured: bool, random: f64) -> Duration {
    let cap = if misconfigured { MISCONFIGURED_MAX } else { RETRY_MAX };
    let window = FIRST.saturating_mul(1 << attempt.min(16)).min(cap);
    // Never zero: an answer that comes at once must not turn into a busy loop.
    FIRST / 4 + window.mul_f64(random)
}
