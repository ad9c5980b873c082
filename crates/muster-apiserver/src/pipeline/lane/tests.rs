//! Turns, shares, and that no place is ever lost.

use std::task::Poll;

use futures::{FutureExt as _, poll};
use proptest::prelude::*;

use super::*;

fn lane(places: usize, waiting: usize) -> Lane {
    Lane::new(Size {
        places,
        places_per_user: places,
        waiting,
        waiting_per_user: waiting,
        patience: Duration::from_secs(15),
    })
}

#[tokio::test]
async fn users_take_turns_however_many_requests_one_of_them_has() {
    let lane = lane(1, 100);
    let first = lane.enter("greedy").await.expect("a place");
    let mut greedy: Vec<_> = (0..50).map(|_| Box::pin(lane.enter("greedy"))).collect();
    for request in &mut greedy {
        assert!(poll!(request).is_pending());
    }
    let mut modest = Box::pin(lane.enter("modest"));
    assert!(poll!(modest.as_mut()).is_pending());
    // One of the greedy user's, whose turn it was, and then the other user's.
    drop(first);
    let Poll::Ready(Ok(second)) = poll!(greedy[0].as_mut()) else {
        panic!("the first in the queue gets the place");
    };
    assert!(poll!(modest.as_mut()).is_pending());
    drop(second);
    assert!(matches!(poll!(modest.as_mut()), Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn a_user_has_no_more_than_their_share_though_places_are_free() {
    let lane = Lane::new(Size {
        places: 4,
        places_per_user: 3,
        waiting: 10,
        waiting_per_user: 10,
        patience: Duration::from_secs(15),
    });
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(lane.enter("slow").await.expect("a place"));
    }
    let mut fourth = Box::pin(lane.enter("slow"));
    assert!(poll!(fourth.as_mut()).is_pending());
    assert!(
        lane.enter("other")
            .now_or_never()
            .is_some_and(|got| got.is_ok())
    );
    held.pop();
    assert!(matches!(poll!(fourth.as_mut()), Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn when_the_queue_is_full_the_greediest_makes_room() {
    let lane = lane(1, 4);
    let _place = lane.enter("greedy").await.expect("a place");
    let mut greedy: Vec<_> = (0..4).map(|_| Box::pin(lane.enter("greedy"))).collect();
    for request in &mut greedy {
        assert!(poll!(request).is_pending());
    }
    // The greedy user themself is told to come back later.
    assert_eq!(lane.enter("greedy").await.err(), Some(Full));
    let mut modest = Box::pin(lane.enter("modest"));
    assert!(poll!(modest.as_mut()).is_pending());
    assert!(matches!(poll!(greedy[3].as_mut()), Poll::Ready(Err(Full))));
    assert!(poll!(greedy[2].as_mut()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_to_come_back() {
    let lane = lane(1, 4);
    let _place = lane.enter("a").await.expect("a place");
    assert_eq!(lane.enter("b").await.err(), Some(Full));
    let state = lane.state.lock();
    assert_eq!(
        (state.waiting, state.turn.len(), state.users.len()),
        (0, 0, 1)
    );
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Enter(u8),
    GiveUp(usize),
    Leave(usize),
    Look(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Act::Enter),
        1 => any::<usize>().prop_map(Act::GiveUp),
        2 => any::<usize>().prop_map(Act::Leave),
        2 => any::<usize>().prop_map(Act::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_no_place_is_lost_or_given_twice(acts in prop::collection::vec(act(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let lane = Lane::new(Size {
                places: 3, places_per_user: 2, waiting: 5, waiting_per_user: 3,
                patience: Duration::from_secs(3600),
            });
            let mut waiting = Vec::new();
            let mut held = Vec::new();
            for act in acts {
                match act {
                    Act::Enter(user) => {
                        let (lane, user) = (&lane, user.to_string());
                        let mut entering = Box::pin(async move { lane.enter(&user).await });
                        match poll!(entering.as_mut()) {
                            Poll::Ready(Ok(place)) => held.push(place),
                            Poll::Ready(Err(Full)) => {}
                            Poll::Pending => waiting.push(entering),
                        }
                    }
                    Act::GiveUp(at) if !waiting.is_empty() => drop(waiting.remove(at % waiting.len())),
                    Act::Leave(at) if !held.is_empty() => drop(held.remove(at % held.len())),
                    Act::Look(at) if !waiting.is_empty() => {
                        let mut entering = waiting.remove(at % waiting.len());
                        match poll!(entering.as_mut()) {
                            Poll::Ready(Ok(place)) => held.push(place),
                            Poll::Ready(Err(Full)) => {}
                            Poll::Pending => waiting.push(entering),
                        }
                    }
                    _ => {}
                }
                let state = lane.state.lock();
                assert!(state.taken <= 3 && state.taken >= held.len());
                assert!(state.users.values().all(|own| own.places <= 2));
                let queued: usize = state.users.values().map(|own| own.queue.len()).sum();
                assert_eq!(queued, state.waiting);
                assert!(state.waiting <= 5);
            }
            drop(waiting);
            drop(held);
            let state = lane.state.lock();
            assert_eq!((state.taken, state.waiting), (0, 0));
            assert!(state.users.is_empty() && state.turn.is_empty());
        });
    }
}
