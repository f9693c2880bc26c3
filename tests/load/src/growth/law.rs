//! Which law figures follow: a rule that is easy to check by hand, and that noise does not mislead.

/// A share of the smallest size's cost that is taken for noise.
const NOISE: f64 = 0.05;
/// What costs no more than this at the largest size, as a multiple of the smallest size's cost, does not grow.
const FLAT: f64 = 1.25;
/// The exponent up to which growth is that of caches which hold less of it, or of a logarithm.
const SLOW: f64 = 0.25;
/// The exponents of what grows in proportion. n log n is within them at these sizes.
const LINEAR: std::ops::RangeInclusive<f64> = 0.75..=1.25;

/// What something costs at one size.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) size: f64,
    pub(super) cost: f64,
}

/// How cost grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Law {
    Flat,
    /// With so much for each.
    Linear(f64),
    /// With the size to the power of this.
    Power(f64),
}

/// How cost should grow at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Flat,
    Linear,
}

impl Law {
    /// The law of figures from the smallest size to the largest, of which there are at least two. The smallest size's cost counts as
    /// fixed, and is taken off; what is left, at the two largest sizes, gives the exponent.
    pub(super) fn of(points: &[Point]) -> Option<Self> {
        let [first, .., last] = points else { return None };
        if last.cost <= FLAT * first.cost {
            return Some(Self::Flat);
        }
        let more = |point: &Point| (point.size - first.size, point.cost - first.cost);
        let (sizes, costs) = more(last);
        let each = costs / sizes;
        let [_, .., before, _] = points else { return Some(Self::Linear(each)) };
        let (sizes_before, costs_before) = more(before);
        let exponent = (costs / costs_before.max(NOISE * first.cost)).ln() / (sizes / sizes_before).ln();
        Some(match exponent {
            ..=SLOW => Self::Flat,
            _ if LINEAR.contains(&exponent) => Self::Linear(each),
            _ => Self::Power(exponent),
        })
    }

    pub(super) fn is_worse_than(self, expected: Expected) -> bool {
        match (self, expected) {
            (Self::Flat, _) | (Self::Linear(_), Expected::Linear) => false,
            (Self::Linear(_) | Self::Power(_), Expected::Flat) => true,
            (Self::Power(exponent), Expected::Linear) => exponent > *LINEAR.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(cost: impl Fn(f64) -> f64) -> Law {
        Law::of(&[10.0, 100.0, 1000.0, 10_000.0].map(|size| Point { size, cost: cost(size) })).unwrap()
    }

    #[test]
    fn laws_are_told_apart_beside_a_fixed_part() {
        assert_eq!(law(|_| 14.0), Law::Flat);
        assert_eq!(law(|size| 14.0 + size.log10()), Law::Flat);
        assert_eq!(law(|size| 14.0 + 5.0 * size.log10()), Law::Flat);
        let Law::Linear(each) = law(|size| 14.0 + 0.05 * size) else { panic!("linear") };
        assert!((each - 0.05).abs() < 1e-9, "{each}");
        assert!(matches!(law(|size| size * size.ln()), Law::Linear(_)));
        let Law::Power(exponent) = law(|size| 14.0 + 0.01 * size * size) else { panic!("a square") };
        assert!((exponent - 2.0).abs() < 0.01, "{exponent}");
        assert!(matches!(law(|size| size.powf(1.5)), Law::Power(exponent) if exponent > 1.4));
        assert!(matches!(law(f64::sqrt), Law::Power(exponent) if exponent < 0.6));
    }

    #[test]
    fn noise_is_no_law() {
        let points = |costs: [f64; 4]| {
            let sizes = [1.0, 5.0, 22.0, 100.0];
            Law::of(&std::array::from_fn::<_, 4, _>(|at| Point { size: sizes[at], cost: costs[at] })).unwrap()
        };
        assert_eq!(points([14.0, 13.1, 15.2, 16.0]), Law::Flat);
        assert_eq!(points([14.0, 18.0, 21.0, 19.0]), Law::Flat);
        assert!(matches!(points([14.0, 14.0, 13.9, 18.0]), Law::Linear(_) | Law::Power(..=1.25)));
    }

    #[test]
    fn what_grows_faster_than_it_should_is_worse() {
        for (law, than_flat, than_linear) in [
            (Law::Flat, false, false),
            (Law::Linear(1.0), true, false),
            (Law::Power(0.5), true, false),
            (Law::Power(1.6), true, true),
        ] {
            assert_eq!(law.is_worse_than(Expected::Flat), than_flat, "{law:?}");
            assert_eq!(law.is_worse_than(Expected::Linear), than_linear, "{law:?}");
        }
    }

    #[test]
    fn two_sizes_tell_whether_it_grows_and_one_tells_nothing() {
        let point = |size, cost| Point { size, cost };
        assert_eq!(Law::of(&[point(1.0, 1.0), point(2.0, 1.1)]), Some(Law::Flat));
        assert_eq!(Law::of(&[point(1.0, 1.0), point(2.0, 2.0)]), Some(Law::Linear(1.0)));
        assert_eq!(Law::of(&[point(1.0, 1.0)]), None);
    }
}
