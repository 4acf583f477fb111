//! Which shards get a lease, and which wait for their parents.

use crate::sabotage;
use crate::source::kinesis::client::ListedShard;
use crate::source::kinesis::lease::Lease;

/// Shards that can be read and have no lease: their parents are read to their ends, or are not there any more.
pub(super) fn missing<'l>(leases: &[Lease], listed: &'l [ListedShard]) -> Vec<&'l ListedShard> {
    let of = |shard: &str| leases.iter().find(|l| l.shard == shard);
    let is_done = |parent: &String| match of(parent) {
        Some(lease) if lease.is_ended() => true,
        // Nothing of it can be read any more.
        _ => !listed.iter().any(|l| l.id == *parent),
    };
    // The library removes the lease of a parent whose children are read.
    let is_over = |shard: &ListedShard| descendants(shard, listed).iter().any(|l| of(&l.id).is_some());
    listed.iter().filter(|l| of(&l.id).is_none() && l.parents.iter().all(is_done) && !is_over(l)).collect()
}

/// Whether a shard's records are behind those of another one that is still to be read. Whoever made the leases may have made
/// those of children before their parents were read to their ends, as the library does. A shard that has no lease is not read
/// by anybody, and of one that is not listed nothing can be read any more.
pub(super) fn is_too_early(shard: &str, leases: &[Lease], listed: &[ListedShard]) -> bool {
    if sabotage::on("children_before_parents") {
        return false;
    }
    let parents = |id: &str| listed.iter().find(|l| l.id == id).map_or(&[][..], |l| &l.parents);
    let (mut ancestors, mut at): (Vec<&String>, usize) = (parents(shard).iter().collect(), 0);
    while at < ancestors.len() {
        let next: Vec<&String> = parents(ancestors[at]).iter().filter(|id| !ancestors.contains(id)).collect();
        ancestors.extend(next);
        at += 1;
    }
    let is_unread = |id: &&String| leases.iter().any(|l| l.shard == **id && !l.is_ended());
    ancestors.iter().filter(|id| listed.iter().any(|l| l.id == ***id)).any(is_unread)
}

/// The shards that were made from a shard, and from those.
fn descendants<'l>(shard: &ListedShard, listed: &'l [ListedShard]) -> Vec<&'l ListedShard> {
    let mut found: Vec<&ListedShard> = listed.iter().filter(|l| l.parents.contains(&shard.id)).collect();
    let mut at = 0;
    while at < found.len() {
        let next = listed.iter().filter(|l| l.parents.contains(&found[at].id));
        let next: Vec<&ListedShard> = next.filter(|l| !found.iter().any(|f| f.id == l.id)).collect();
        found.extend(next);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ListedShard {
        let parents = parents.iter().map(|p| (*p).to_owned()).collect();
        ListedShard { id: id.to_owned(), parents, hash_keys: None, is_closed: false }
    }

    fn lease(shard: &str, checkpoint: &str) -> Lease {
        Lease {
            shard: shard.to_owned(),
            owner: None,
            counter: 0,
            checkpoint: checkpoint.to_owned(),
            checkpoint_sub: 0,
            begin: None,
            created_ms: 0,
            stream: None,
        }
    }

    fn ids(leases: &[Lease], listed: &[ListedShard]) -> Vec<String> {
        missing(leases, listed).into_iter().map(|l| l.id.clone()).collect()
    }

    #[test]
    fn a_shard_gets_a_lease_when_its_parents_are_over_and_no_parent_gets_one_again() {
        let listed = [shard("a", &[]), shard("b", &["a"]), shard("c", &["a"]), shard("d", &["b", "c"])];
        assert_eq!(ids(&[], &listed), ["a"]);
        assert_eq!(ids(&[lease("a", "17")], &listed), [""; 0]);
        assert_eq!(ids(&[lease("a", "SHARD_END")], &listed), ["b", "c"]);
        let both = [lease("a", "SHARD_END"), lease("b", "SHARD_END"), lease("c", "5")];
        assert_eq!(ids(&both, &listed), [""; 0]);
        // The library has removed those of `a` and `b` since `d` is read.
        assert_eq!(ids(&[lease("c", "SHARD_END"), lease("d", "5")], &listed), [""; 0]);
        // `a` expired before it was read to its end: what is left of it is nothing.
        assert_eq!(ids(&[lease("a", "17")], &listed[1..]), ["b", "c"]);
    }
    #[test]
    fn a_shard_waits_for_those_it_was_made_from_whoever_made_their_leases() {
        let listed = [shard("a", &[]), shard("b", &["a"]), shard("c", &["a"]), shard("d", &["b", "c"])];
        let early = |leases: &[Lease], listed: &[ListedShard]| -> Vec<String> {
            let early = leases.iter().filter(|l| is_too_early(&l.shard, leases, listed));
            early.map(|l| l.shard.clone()).collect()
        };
        let all = |a: &str, b: &str| [lease("a", a), lease("b", b), lease("c", "TRIM_HORIZON"), lease("d", "5")];
        assert_eq!(early(&all("17", "TRIM_HORIZON"), &listed), ["b", "c", "d"]);
        assert_eq!(early(&all("SHARD_END", "SHARD_END"), &listed), ["d"]);
        // The library reads from the newest record on: there is no lease of what was closed by then.
        assert_eq!(early(&[lease("d", "5")], &listed), [""; 0]);
        // A grandparent counts, if the parent has no lease.
        assert_eq!(early(&[lease("a", "17"), lease("d", "5")], &listed), ["d"]);
        assert_eq!(early(&all("17", "SHARD_END")[..2], &listed[1..]), [""; 0], "nothing of `a` can be read");
    }
}
