//! The time zone of the machine.

use std::{fs, path::Path};

use chrono_tz::Tz;

/// The zone, and what says so. `TZ` is what the variable holds: a name, or with a colon before it, as in POSIX.
pub(super) fn system_zone(root: &Path, tz: Option<&str>) -> (Tz, &'static str) {
    let variable = || tz?.trim_start_matches(':').parse().ok();
    let link = || {
        // The link of tzset(3): its target is below `/usr/share/zoneinfo/`.
        let target = fs::read_link(root.join("etc/localtime")).ok()?;
        target.to_str()?.split_once("zoneinfo/")?.1.parse().ok()
    };
    let name = || fs::read_to_string(root.join("etc/timezone")).ok()?.trim().parse().ok();
    variable()
        .map(|zone| (zone, "`TZ`"))
        .or_else(|| link().map(|zone| (zone, "`/etc/localtime`")))
        .or_else(|| name().map(|zone| (zone, "`/etc/timezone`")))
        .unwrap_or((Tz::UTC, "nobody, so it is UTC"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_zone_comes_from_the_first_that_names_one() {
        let root = tempfile::tempdir().unwrap();
        let zone = |tz| system_zone(root.path(), tz).0;
        assert_eq!(zone(None), Tz::UTC);
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/timezone"), "Asia/Tokyo\n").unwrap();
        assert_eq!(zone(None), Tz::Asia__Tokyo);
        symlink("/usr/share/zoneinfo/America/Indiana/Knox", root.path().join("etc/localtime")).unwrap();
        assert_eq!(zone(None), Tz::America__Indiana__Knox);
        assert_eq!(zone(Some(":Europe/London")), Tz::Europe__London);
        assert_eq!(zone(Some("CET-1CEST")), Tz::America__Indiana__Knox, "a rule is not a name");
    }
}
