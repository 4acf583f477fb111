//! Wrong builds that neither the model's crash states nor kills would show: each breaks one rule, and a test of that rule must
//! show it. What the right build does is seen in the test itself.

use super::flips;
use crate::api::limits;
use crate::journal::damage;
use crate::rig::service::broken;
use crate::source::kinesis::{answers, library};
use hydrant::sabotage;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether a test fails.
fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

/// What is left of a damaged plan log is taken for all there was: it delivers again.
#[test]
fn a_short_plan_log_that_is_believed_is_noticed() {
    assert!(fails(|| {
        sabotage::break_here(Some("short_plan_log_believed"));
        flips::plan_logs_with_a_hole();
    }));
    sabotage::break_here(None);
    flips::plan_logs_with_a_hole();
}

/// Opening asks for blocks that it had before.
#[test]
fn a_reserve_that_is_not_kept_is_noticed() {
    assert!(fails(|| {
        sabotage::break_here(Some("reserve_not_kept"));
        damage::a_full_disk_opens_and_delivers_what_it_holds();
    }));
    sabotage::break_here(None);
}

/// Room is taken for what a client says will come, before it has shown anything.
#[test]
fn a_body_whose_room_is_taken_before_anything_is_known_is_noticed() {
    assert!(fails(|| broken(
        "body_reserved_first",
        limits::requests_that_announce_a_body_and_do_not_send_it_hold_no_room
    )));
}

/// An answer that names no iterator is taken for the end of the shard.
#[test]
fn an_end_of_a_shard_without_a_look_is_noticed() {
    assert!(fails(|| broken("end_without_a_look", answers::answers_that_name_no_iterator_end_no_shard_that_is_open)));
}

/// The children of shards are read at once, whoever made their leases.
#[test]
fn children_that_are_read_before_their_parents_are_noticed() {
    assert!(fails(|| broken(
        "children_before_parents",
        library::parents_are_read_before_children_whoever_made_their_leases
    )));
}
