//! Which leases a worker takes, as the Kinesis Client Library does it: those that nobody holds, up to its share; and, where
//! there are none and others have more, one of theirs at a time.

use super::lease::Lease;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Leases as they were seen over time, by our own clock: whose counter does not move is not held by anybody alive.
#[derive(Default)]
pub struct Watch {
    seen: HashMap<String, (Option<String>, u64, Instant)>,
}

/// Who looks for leases.
pub struct Worker<'a> {
    pub name: &'a str,
    /// Whether it has the lease of a shard.
    pub has: &'a dyn Fn(&str) -> bool,
}

impl Watch {
    /// Takes note of how the leases stand now.
    pub fn look(&mut self, leases: &[Lease], now: Instant) {
        self.seen.retain(|shard, _| leases.iter().any(|l| l.shard == *shard));
        for lease in leases {
            let is = |(owner, counter, _): &(Option<String>, u64, Instant)| {
                *owner == lease.owner && *counter == lease.counter
            };
            if !self.seen.get(&lease.shard).is_some_and(is) {
                self.seen.insert(lease.shard.clone(), (lease.owner.clone(), lease.counter, now));
            }
        }
    }

    /// Whether nobody alive holds a lease that was looked at.
    pub fn is_free(&self, lease: &Lease, now: Instant, failover: Duration) -> bool {
        let unmoved =
            self.seen.get(&lease.shard).map_or(Duration::ZERO, |(.., since)| now.saturating_duration_since(*since));
        lease.owner.is_none() || unmoved >= failover
    }

    /// The leases that a worker should take now: one that names us and is not is free, since
    /// the answer that it is ours was lost, or it could not be renewed. Those of shards that were read to their ends are
    /// nobody's.
    pub fn wanted(
        &self,
        leases: &[Lease],
        &Worker { name: me, has }: &Worker,
        now: Instant,
        failover: Duration,
    ) -> Vec<Lease> {
        let open: Vec<&Lease> = leases.iter().filter(|l| !l.is_ended()).collect();
        let is_free = |l: &Lease| match l.owner.as_deref() == Some(me) {
            true => !has(&l.shard),
            false => self.is_free(l, now, failover),
        };
        let (free, held): (Vec<&Lease>, Vec<&Lease>) = open.iter().partition(|l| is_free(l));
        let mut loads = BTreeMap::from([(me, 0usize)]);
        for lease in &held {
            *loads.entry(lease.owner.as_deref().expect("a lease without an owner is free")).or_default() += 1;
        }
        let mine = loads[me];
        let share = open.len().div_ceil(loads.len());
        let mut taken: Vec<Lease> = free.into_iter().take(share.saturating_sub(mine)).cloned().collect();
        if taken.is_empty() {
            // Less than two more than ours would only change places.
            let most = loads.iter().filter(|(_, load)| **load >= mine + 2).max_by_key(|(_, load)| **load);
            let of_most = most.and_then(|(worker, _)| held.iter().find(|l| l.owner.as_deref() == Some(*worker)));
            taken.extend(of_most.map(|lease| (*lease).clone()));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILOVER: Duration = Duration::from_secs(10);

    fn lease(shard: usize, owner: Option<&str>) -> Lease {
        Lease {
            shard: format!("shard {shard}"),
            owner: owner.map(str::to_owned),
            counter: 1,
            checkpoint: "TRIM_HORIZON".into(),
            checkpoint_sub: 0,
            begin: None,
            created_ms: 0,
            stream: None,
        }
    }

    fn wanted(watch: &Watch, leases: &[Lease], me: &str, now: Instant) -> Vec<String> {
        let ours = |shard: &str| leases.iter().any(|l| l.shard == shard && l.owner.as_deref() == Some(me));
        watch.wanted(leases, &Worker { name: me, has: &ours }, now, FAILOVER).into_iter().map(|l| l.shard).collect()
    }

    #[test]
    fn free_leases_are_taken_up_to_ones_share_and_then_one_at_a_time_from_who_has_more() {
        let (now, watch) = (Instant::now(), Watch::default());
        let none = [lease(0, None), lease(1, None), lease(2, None)];
        assert_eq!(wanted(&watch, &none, "a", now).len(), 3);
        let other = [lease(0, None), lease(1, Some("b")), lease(2, None)];
        assert_eq!(wanted(&watch, &other, "a", now), ["shard 0", "shard 2"]);
        let all = [lease(0, Some("b")), lease(1, Some("b")), lease(2, Some("b"))];
        assert_eq!(wanted(&watch, &all, "a", now), ["shard 0"]);
        let even = [lease(0, Some("b")), lease(1, Some("b")), lease(2, Some("a"))];
        assert_eq!(wanted(&watch, &even, "a", now), [""; 0]);
        let forgotten = watch.wanted(&even, &Worker { name: "a", has: &|_| false }, now, FAILOVER);
        assert_eq!(forgotten.len(), 1, "it names us, and we do not know");
        let ended = [Lease { checkpoint: "SHARD_END".into(), ..lease(0, None) }, lease(1, Some("b"))];
        assert_eq!(wanted(&watch, &ended, "a", now), [""; 0]);
    }

    #[test]
    fn whose_counter_does_not_move_is_not_alive() {
        let (begun, mut watch) = (Instant::now(), Watch::default());
        let mut leases = [lease(0, Some("b")), lease(1, Some("b"))];
        watch.look(&leases, begun);
        let later = begun + FAILOVER;
        assert_eq!(wanted(&watch, &leases, "a", later - Duration::from_millis(1)), ["shard 0"], "one is stolen");
        leases[1].counter += 1;
        watch.look(&leases, later);
        assert_eq!(wanted(&watch, &leases, "a", later), ["shard 0"]);
        // Our own are renewed by us, whatever the clock says.
        let mine = [lease(0, Some("a"))];
        watch.look(&mine, begun);
        assert_eq!(wanted(&watch, &mine, "a", later + FAILOVER), [""; 0]);
    }
}
