//! The time zone of the machine.

use crate::zones;
use roost_scheduler::zone::Zone;
use std::{fs, path::Path};

/// Returns the system's time zone, and its source. `tz` is the value of `TZ`: a name, with or without a colon before
/// it, as in POSIX.
pub(super) fn system_zone(root: &Path, tz: Option<&str>) -> (Zone, &'static str) {
    let variable = || zones::find(tz?.trim_start_matches(':')).ok();
    let link = || {
        // The link of tzset(3): its target is below `/usr/share/zoneinfo/`.
        let target = fs::read_link(root.join("etc/localtime")).ok()?;
        zones::find(target.to_str()?.split_once("zoneinfo/")?.1).ok()
    };
    let name = || zones::find(fs::read_to_string(root.join("etc/timezone")).ok()?.trim()).ok();
    variable()
        .map(|zone| (zone, "`TZ`"))
        .or_else(|| link().map(|zone| (zone, "`/etc/localtime`")))
        .or_else(|| name().map(|zone| (zone, "`/etc/timezone`")))
        .unwrap_or((Zone::UTC, "the default: no setting names another"))
}

#[cfg(test)]
mod tests {
    use crate::zones::zone;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_zone_comes_from_the_first_that_names_one() {
        let root = tempfile::tempdir().unwrap();
        let found = |tz| system_zone(root.path(), tz).0;
        assert_eq!(found(None), Zone::UTC);
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/timezone"), "Asia/Tokyo\n").unwrap();
        assert_eq!(found(None), zone("Asia/Tokyo"));
        symlink("/usr/share/zoneinfo/America/Indiana/Knox", root.path().join("etc/localtime")).unwrap();
        assert_eq!(found(None), zone("America/Indiana/Knox"));
        assert_eq!(found(Some(":Europe/London")), zone("Europe/London"));
        assert_eq!(found(Some("CET-1CEST")), zone("America/Indiana/Knox"), "a rule is not a name");
    }
}
