//! Times of a token's, as people read them.

use domain::{UnixMillis, UnixSeconds};

/// Returns an instant in RFC 3339 and how far away it is, such as `2026-11-28T23:00:00Z, in 54 minutes`.
pub(super) fn shown(at: UnixSeconds, now: UnixSeconds) -> String {
    format!("{}, {}", rfc3339(at), relative(at, now))
}

pub(super) fn rfc3339(at: UnixSeconds) -> String {
    UnixMillis(at.0.saturating_mul(1000)).to_rfc3339().replace(".000Z", "Z")
}

/// Returns how far away an instant is, in whole units of the largest that fits.
pub(super) fn relative(at: UnixSeconds, now: UnixSeconds) -> String {
    let seconds = at.0.saturating_sub(now.0);
    let (count, unit) = match seconds.unsigned_abs() {
        0 => return "now".to_owned(),
        count @ ..120 => (count, "second"),
        count @ ..7200 => (count / 60, "minute"),
        count @ ..172_800 => (count / 3600, "hour"),
        count => (count / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if seconds > 0 { format!("in {count} {unit}{plural}") } else { format!("{count} {unit}{plural} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_by_the_calendar_and_by_how_far_away_they_are() {
        let now = UnixSeconds(1_795_395_877);
        for (offset, expected) in [
            (0, "now"),
            (1, "in 1 second"),
            (-119, "119 seconds ago"),
            (54 * 60 + 59, "in 54 minutes"),
            (-7200, "2 hours ago"),
            (47 * 3600, "in 47 hours"),
            (-48 * 3600, "2 days ago"),
        ] {
            let at = UnixSeconds(now.0.saturating_add(offset));
            assert_eq!(relative(at, now), expected);
        }
        assert_eq!(shown(UnixSeconds(now.0 + 60), now), "2026-11-23T01:05:37Z, in 60 seconds");
        assert!(relative(UnixSeconds(i64::MAX), now).starts_with("in 106"));
        assert!(rfc3339(UnixSeconds(i64::MIN)).starts_with("-009999"));
    }
}
