//! Stamps in a record: when and from what it was made.

use foil::hash::hash;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time as UTC in RFC 3339, to the second: `2026-03-21T09:30:00Z`. A clock before 1970
/// reads as 1970.
///
/// The calendar is H. Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms"):
/// years begin in March, so that the leap day is their last.
pub fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = seconds / 86_400 + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097); // of 400 years
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (400 * era + year + month / 10, (month + 2) % 12 + 1);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time now, as [`date`] writes it.
pub fn now() -> String {
    date(SystemTime::now())
}

/// SHA-256 of a resolved config's YAML, in 64 hex digits. Two runs with equal hashes had the same
/// settings.
pub fn config_hash(resolved: &str) -> String {
    hash(resolved.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    // for s in …; do date -u -d @$s +%FT%TZ; done
    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_774_085_400, "2026-03-21T09:30:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    // printf 'seed: 1\n' | sha256sum
    #[test]
    fn hash_of_a_config() {
        assert_eq!(config_hash("seed: 1\n"), "adf0396d435b4047092c20dada268d22d8db7f192fe2a8a9a283c9e9dea6af54");
    }
}
