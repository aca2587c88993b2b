//! What several pipelines have of one thing: by weight, and none more than it can use.

/// One who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Against the others' weights; at least 1.
    pub weight: u32,
    /// What it can use.
    pub most: usize,
}

/// Shares `total` out: each has what it can use, or by weight of what the others leave; nobody less than `least`, even
/// where that is more than there is.
pub fn share_by_weight(total: usize, least: usize, claims: &[Claim]) -> Vec<usize> {
    let mut shares = vec![0; claims.len()];
    let mut open: Vec<usize> = (0..claims.len()).collect();
    let mut left = total as u128;
    loop {
        let weights: u128 = open.iter().map(|at| u128::from(claims[*at].weight)).sum();
        let part = |at: usize| (left * u128::from(claims[at].weight) / weights.max(1)) as usize;
        // Whoever needs less than its part leaves the rest to the others.
        let (content, wanting): (Vec<usize>, Vec<usize>) =
            open.iter().copied().partition(|at| claims[*at].most <= part(*at));
        if content.is_empty() {
            wanting.iter().for_each(|at| shares[*at] = part(*at).max(least));
            return shares;
        }
        for at in content {
            shares[at] = claims[at].most;
            left -= claims[at].most as u128;
        }
        open = wanting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAST: usize = 64;

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        prop::collection::vec(
            (1u32..=100, 64usize..10_000).prop_map(|(weight, most)| Claim { weight, most }),
            0..30,
        )
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_it_can_use_and_all_together_no_more_than_there_is(total in 0usize..200_000, claims in claims()) {
            let shares = share_by_weight(total, LEAST, &claims);
            prop_assert!(shares.iter().zip(&claims).all(|(share, claim)| *share <= claim.most && *share >= LEAST));
            let raised = claims.len() * LEAST;
            prop_assert!(shares.iter().sum::<usize>() <= total + raised);
            let wanted: usize = claims.iter().map(|claim| claim.most).sum();
            if wanted <= total {
                prop_assert!(shares.iter().zip(&claims).all(|(share, claim)| *share == claim.most));
            } else {
                // What division leaves over is less than one each.
                prop_assert!(shares.iter().sum::<usize>() + claims.len() >= total, "nothing is left lying");
            }
        }

        #[test]
        fn those_who_want_more_have_it_by_weight_and_those_who_have_enough_took_no_more_than_that(
            total in 0usize..200_000, claims in claims(),
        ) {
            let shares = share_by_weight(total, 0, &claims);
            for (share, claim) in shares.iter().zip(&claims) {
                for (other_share, other) in shares.iter().zip(&claims) {
                    if *share < claim.most {
                        // It has at least its weight's part of whatever another has.
                        let (own, others) = ((*share as u64 + 1) * u64::from(other.weight), *other_share as u64);
                        prop_assert!(own >= others * u64::from(claim.weight));
                    }
                }
            }
        }
    }

    #[test]
    fn weights_are_parts_and_what_one_can_not_use_goes_to_the_others() {
        let claim = |weight, most| Claim { weight, most };
        assert_eq!(share_by_weight(90, 1, &[claim(1, 90), claim(2, 90)]), [30, 60]);
        assert_eq!(
            share_by_weight(90, 1, &[claim(1, 90), claim(1, 90), claim(7, 10)]),
            [40, 40, 10]
        );
        assert_eq!(share_by_weight(90, 1, &[]), [0; 0]);
        assert_eq!(share_by_weight(0, 5, &[claim(1, 90)]), [5]);
    }
}
