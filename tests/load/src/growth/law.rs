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

/// How cost grows: with the size to the power of an exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Law {
    Flat,
    /// About in proportion, with so much for each.
    Linear {
        each: f64,
        exponent: f64,
    },
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
        let [_, .., before, _] = points else { return Some(Self::Linear { each, exponent: 1.0 }) };
        let (sizes_before, costs_before) = more(before);
        let exponent = (costs / costs_before.max(NOISE * first.cost)).ln() / (sizes / sizes_before).ln();
        Some(match exponent {
            ..=SLOW => Self::Flat,
            _ if LINEAR.contains(&exponent) => Self::Linear { each, exponent },
            _ => Self::Power(exponent),
        })
    }

    /// Whether it grows faster than it should, and faster than bare hyper in the same run, where that was measured: what grows with
    /// the kernel's and the caches' work for as many connections or bytes is no work of the server's.
    pub(super) fn is_worse_than(self, expected: Expected, floor: Option<Self>) -> bool {
        let expected = match expected {
            Expected::Flat => 0.0,
            Expected::Linear => 1.0,
        };
        self.exponent() > floor.map_or(expected, |floor| floor.exponent().max(expected)) + SLOW
    }

    const fn exponent(self) -> f64 {
        match self {
            Self::Flat => 0.0,
            Self::Linear { exponent, .. } | Self::Power(exponent) => exponent,
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
        let Law::Linear { each, .. } = law(|size| 14.0 + 0.05 * size) else { panic!("linear") };
        assert!((each - 0.05).abs() < 1e-9, "{each}");
        assert!(matches!(law(|size| size * size.ln()), Law::Linear { .. }));
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
        assert!(matches!(points([14.0, 14.0, 13.9, 18.0]), Law::Linear { .. } | Law::Power(..=1.25)));
    }

    const LINEAR: Law = Law::Linear { each: 1.0, exponent: 1.1 };

    #[test]
    fn what_grows_faster_than_it_should_is_worse() {
        for (law, than_flat, than_linear) in [
            (Law::Flat, false, false),
            (LINEAR, true, false),
            (Law::Power(0.5), true, false),
            (Law::Power(1.6), true, true),
        ] {
            assert_eq!(law.is_worse_than(Expected::Flat, None), than_flat, "{law:?}");
            assert_eq!(law.is_worse_than(Expected::Linear, None), than_linear, "{law:?}");
        }
    }

    #[test]
    fn what_grows_as_bare_hyper_does_is_not_worse_and_what_grows_faster_is() {
        for (law, floor, than_flat, than_linear) in [
            (Law::Power(0.5), Law::Flat, true, false),
            (Law::Power(0.5), Law::Power(0.3), false, false),
            (Law::Power(0.6), Law::Power(0.3), true, false),
            (LINEAR, Law::Power(0.8), true, false),
            (Law::Power(1.3), LINEAR, false, false),
            (Law::Power(1.3), Law::Flat, true, true),
            (Law::Power(1.6), Law::Power(1.3), true, true),
            (Law::Flat, Law::Power(1.6), false, false),
        ] {
            assert_eq!(law.is_worse_than(Expected::Flat, Some(floor)), than_flat, "{law:?}, {floor:?}");
            assert_eq!(law.is_worse_than(Expected::Linear, Some(floor)), than_linear, "{law:?}, {floor:?}");
        }
    }

    #[test]
    fn two_sizes_tell_whether_it_grows_and_one_tells_nothing() {
        let point = |size, cost| Point { size, cost };
        assert_eq!(Law::of(&[point(1.0, 1.0), point(2.0, 1.1)]), Some(Law::Flat));
        assert_eq!(
            Law::of(&[point(1.0, 1.0), point(2.0, 2.0)]),
            Some(Law::Linear { each: 1.0, exponent: 1.0 })
        );
        assert_eq!(Law::of(&[point(1.0, 1.0)]), None);
    }
}
