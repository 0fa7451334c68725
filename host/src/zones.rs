//! Time zones: the system's, if they are newer than the built-in ones.
//!
//! Only this module reads them. Its state belongs to the process, like a clock: settings, plans, rows and flags all
//! name zones, and must refer to the same ones.

mod folder;
mod limits;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use roost_scheduler::{
    calendar::ZoneError,
    trigger::CronCache,
    zone::{BUNDLED_RELEASE, Zone},
};
use tracing::{info, warn};

use self::folder::{Fingerprint, Folder};

/// The usual folders, in the order in which C libraries search them.
const FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];

static ZONES: LazyLock<Mutex<Zones>> = LazyLock::new(|| Mutex::new(Zones::new(Places::of_the_system())));

fn zones() -> MutexGuard<'static, Zones> {
    ZONES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds a zone by its IANA name.
///
/// # Errors
/// If there is no such zone.
pub(crate) fn find(name: &str) -> Result<Zone, ZoneError> {
    zones().find(name)
}

/// Finds a zone of a stored job or device. If neither the system nor Roost has it any more, its rules are those of UTC
/// until the system has it again, which is logged and shown by `roost status`.
///
/// # Errors
/// If the text cannot be the name of a zone.
pub(crate) fn find_stored(name: &str) -> Result<Zone, ZoneError> {
    zones().find_stored(name)
}

/// Returns a cache for reading stored triggers.
pub(crate) fn stored_patterns() -> CronCache {
    CronCache::with_zones(find_stored)
}

/// Returns a cache for reading cron expressions and triggers with these zones.
pub(crate) fn patterns() -> CronCache {
    CronCache::with_zones(find)
}

/// Returns the rules that are in use.
pub(crate) fn in_use() -> InUse {
    zones().in_use()
}

/// Checks whether the system's rules have changed. Returns a change once it is stable.
pub(crate) fn look_again() -> Option<Changed> {
    zones().look_again()
}

/// How often to check.
pub(crate) const LOOK_EVERY: Duration = limits::LOOK_EVERY;

/// The rules that are in use, and their source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InUse {
    /// The IANA release, such as `2026f`; `None` if the folder does not state it.
    pub(crate) release: Option<String>,
    /// The system's folder; `None` for the built-in rules.
    pub(crate) folder: Option<PathBuf>,
    /// Why the system's rules are not used, or not all of them.
    pub(crate) faults: Vec<String>,
    /// Zones that are used, but have no rules.
    pub(crate) missing: Vec<String>,
}

/// Formats as `2026f, built in`, with missing zones as `, without Europe/London`. Jobs that were planned by other rules
/// may be due at another time.
impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.release.as_deref().unwrap_or("of an unknown release"))?;
        match &self.folder {
            Some(folder) => write!(f, ", from {}", folder.display())?,
            None => f.write_str(", built in")?,
        }
        self.missing.iter().enumerate().try_for_each(|(index, name)| {
            let before = if index == 0 { ", without" } else { " and" };
            write!(f, "{before} {name}")
        })
    }
}

/// A change of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The rules that are in use now.
    pub(crate) in_use: InUse,
    /// The zones in use whose rules have changed.
    pub(crate) zones: Vec<Zone>,
}

/// The folders that may have zones.
#[derive(Debug)]
struct Places {
    folders: Vec<PathBuf>,
    /// Whether `TZDIR` names the folder: then it need not state its release.
    is_named: bool,
}

impl Places {
    /// Returns the folder in `TZDIR`, as the C library reads it, or the usual ones.
    fn of_the_system() -> Self {
        match env::var_os("TZDIR").filter(|folder| !folder.is_empty()) {
            Some(folder) => Self { folders: vec![folder.into()], is_named: true },
            None => Self { folders: FOLDERS.map(PathBuf::from).to_vec(), is_named: false },
        }
    }

    /// Returns the system's folder if it is to be used, and its faults.
    fn choose(&self) -> (Option<Folder>, Vec<String>) {
        let Some(path) = self.folders.iter().find(|path| path.is_dir()) else {
            let missing = || format!("`TZDIR` names {}, which is not a folder", self.folders[0].display());
            return (None, self.is_named.then(missing).into_iter().collect());
        };
        let folder = Folder::open(path);
        match &folder.release {
            Some(release) if is_newer(release, BUNDLED_RELEASE) => (Some(folder), Vec::new()),
            None if self.is_named => (Some(folder), Vec::new()),
            Some(_) => (None, Vec::new()),
            None => {
                let fault = format!("{} does not state its release (`tzdata.zi`)", path.display());
                (None, vec![fault])
            }
        }
    }
}

/// The hint for damaged or missing zones.
const INSTALL: &str = "install the package `tzdata` again, or name another zone in the settings";

fn missing(name: &str) -> String {
    format!("neither the system nor Roost knows the time zone {name}: its times are treated as UTC")
}

/// Compares releases, which are named by their year and letters.
fn is_newer(release: &str, than: &str) -> bool {
    let split =
        |release: &str| release.split_at_checked(4).map(|(year, rest)| (year.to_owned(), rest.len(), rest.to_owned()));
    split(release) > split(than)
}

/// The state of the module.
#[derive(Debug)]
struct Zones {
    places: Places,
    folder: Option<Folder>,
    faults: Vec<String>,
    known: BTreeMap<String, Zone>,
    /// Known zones without rules.
    missing: BTreeSet<String>,
    /// The folder's state when the rules in use were read, and at the last check.
    read: Fingerprint,
    seen: Fingerprint,
}

impl Zones {
    fn new(places: Places) -> Self {
        let (folder, faults) = places.choose();
        let read = Fingerprint::of(&places.folders, []);
        Self { places, folder, faults, known: BTreeMap::new(), missing: BTreeSet::new(), seen: read.clone(), read }
    }

    fn find(&mut self, name: &str) -> Result<Zone, ZoneError> {
        match self.known.get(name) {
            Some(_) if self.missing.contains(name) => return Err(ZoneError::new(name)),
            Some(zone) => return Ok(*zone),
            None => {}
        }
        // Taken before the rules are read, so that a later change is noticed.
        let fingerprint = self.fingerprint([name]);
        let zone = self.bytes(name).and_then(|bytes| match Zone::from_tzif(name, &bytes) {
            Ok(zone) => Some(zone),
            Err(error) => {
                self.fault(name, &error.to_string());
                None
            }
        });
        let zone = zone
            .or_else(|| Zone::from_tzif(name, Zone::bundled_bytes(name)?).ok())
            .ok_or_else(|| ZoneError::new(name))?;
        self.know(zone, &fingerprint);
        Ok(zone)
    }

    fn find_stored(&mut self, name: &str) -> Result<Zone, ZoneError> {
        if let Some(zone) = self.known.get(name) {
            return Ok(*zone);
        }
        self.find(name).or_else(|error| {
            let rules = Zone::bundled_bytes("UTC").filter(|_| folder::is_name(name)).ok_or(error.clone())?;
            let zone = Zone::from_tzif(name, rules).map_err(|_| error)?;
            warn!(hint = INSTALL, "{}", missing(name));
            self.missing.insert(name.to_owned());
            self.know(zone, &self.fingerprint([name]));
            Ok(zone)
        })
    }

    fn know(&mut self, zone: Zone, fingerprint: &Fingerprint) {
        self.known.insert(zone.name().to_owned(), zone);
        // Changes of other zones meanwhile remain to be noticed.
        self.read.add(fingerprint);
        self.seen.add(fingerprint);
    }

    /// Reads the system's rules of a zone.
    fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        match self.folder.as_ref()?.read(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fault(name, &error);
                None
            }
        }
    }

    /// Reports a fault of a zone's file once, however often the zone is looked up.
    fn fault(&mut self, name: &str, why: &str) {
        let folder = self.folder.as_ref().map(|folder| folder.path.display().to_string()).unwrap_or_default();
        let instead = match Zone::bundled_bytes(name) {
            Some(_) => format!("its rules of {BUNDLED_RELEASE}, which are built in, are used"),
            None => "that zone is not built in either".to_owned(),
        };
        let fault = format!("{folder}/{name}: {why}; {instead}");
        if !self.faults.contains(&fault) {
            warn!(hint = INSTALL, "{fault}");
            self.faults.push(fault);
        }
    }

    fn in_use(&self) -> InUse {
        let faults = self.faults.iter().cloned().chain(self.missing.iter().map(|name| missing(name))).collect();
        let (release, folder) = match &self.folder {
            Some(folder) => (folder.release.clone(), Some(folder.path.clone())),
            None => (Some(BUNDLED_RELEASE.to_owned()), None),
        };
        InUse { release, folder, faults, missing: self.missing.iter().cloned().collect() }
    }

    fn fingerprint<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Fingerprint {
        Fingerprint::of(&self.places.folders, names)
    }

    /// Checks for changes. A package is unpacked file by file, so a change is read when the files are the same in two
    /// checks.
    fn look_again(&mut self) -> Option<Changed> {
        let now = self.fingerprint(self.known.keys().map(String::as_str));
        let has_settled = std::mem::replace(&mut self.seen, now.clone()) == now;
        if now == self.read || !has_settled {
            return None;
        }
        self.read = now;
        let before = self.in_use();
        (self.folder, self.faults) = self.places.choose();
        let mut zones = Vec::new();
        for (name, zone) in self.known.clone() {
            let of_system = self.bytes(&name).map(|bytes| zone.update(&bytes));
            let updated = match of_system {
                Some(Ok(differ)) => {
                    self.missing.remove(&name);
                    Ok(differ)
                }
                other => {
                    if let Some(Err(error)) = other {
                        self.fault(&name, &error.to_string());
                    }
                    // A zone that the system no longer has gets its built-in rules, or keeps the ones it has.
                    Zone::bundled_bytes(&name).map_or(Ok(false), |bytes| zone.update(bytes))
                }
            };
            if updated == Ok(true) {
                zones.push(zone);
            }
        }
        let in_use = self.in_use();
        if zones.is_empty() && in_use == before {
            return None;
        }
        info!("the time zones are {in_use}");
        Some(Changed { in_use, zones })
    }
}

/// Returns a zone with the built-in rules, for tests.
#[cfg(test)]
pub(crate) fn zone(name: &str) -> Zone {
    roost_scheduler::calendar::parse_zone(name).unwrap()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use roost_scheduler::time::Instant;

    use expect_test::expect;
    use roost_tests::redact;

    use super::*;

    const SUMMER: &str = "2027-07-01T12:00:00Z";

    fn planted(release: Option<&str>) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(release) = release {
            fs::write(folder.path().join("tzdata.zi"), format!("# version {release}\nL Europe/London GB\n")).unwrap();
        }
        fs::create_dir(folder.path().join("Europe")).unwrap();
        plant(folder.path(), "Asia/Tokyo");
        let places = Places { folders: vec![folder.path().to_owned()], is_named: true };
        (folder, places)
    }

    /// Gives London the rules of another zone.
    fn plant(folder: &Path, rules: &str) {
        fs::write(folder.join("Europe/London"), Zone::bundled_bytes(rules).unwrap()).unwrap();
    }

    fn noon(zone: Zone) -> String {
        chrono::DateTime::parse_from_rfc3339(SUMMER).map(|at| Instant::from(at).in_zone(zone)[11..].to_owned()).unwrap()
    }

    #[test]
    fn the_systems_zones_are_used_if_they_are_newer() {
        for (release, expected) in [
            (Some("2999a"), "21:00:00+09:00"),
            (Some("2999"), "21:00:00+09:00"),
            (None, "21:00:00+09:00"),
            (Some(BUNDLED_RELEASE), "13:00:00+01:00"),
            (Some("2007k"), "13:00:00+01:00"),
        ] {
            let (_folder, places) = planted(release);
            let mut zones = Zones::new(places);
            assert_eq!(noon(zones.find("Europe/London").unwrap()), expected, "{release:?}");
            // A zone that the folder lacks is built in.
            assert_eq!(noon(zones.find("Asia/Kathmandu").unwrap()), "17:45:00+05:45");
            // A link that is not a file is followed as `tzdata.zi` states.
            assert_eq!(
                noon(zones.find("GB").unwrap()),
                if release == Some("2999a") || release == Some("2999") { "21:00:00+09:00" } else { "13:00:00+01:00" }
            );
            for name in
                ["posix/Europe/London", "right/UTC", "../Europe/London", "/etc/passwd", "tzdata.zi", "Europe", ""]
            {
                assert!(zones.find(name).is_err(), "{name}");
            }
        }
        assert!(is_newer("2026g", "2026f") && is_newer("2026za", "2026z") && !is_newer("2026f", "2026f"));
    }

    #[test]
    fn a_folder_that_is_not_configured_has_to_state_its_release() {
        let (_folder, places) = planted(None);
        let mut zones = Zones::new(Places { is_named: false, ..places });
        assert_eq!(noon(zones.find("Europe/London").unwrap()), "13:00:00+01:00");
        expect!["[FOLDER] does not state its release (`tzdata.zi`)"]
            .assert_eq(&redact(&zones.in_use().faults.join("\n")));
        let nothing = Places { folders: vec!["/nonexistent".into()], is_named: false };
        assert_eq!(
            Zones::new(nothing).in_use(),
            InUse { release: Some(BUNDLED_RELEASE.into()), folder: None, faults: vec![], missing: vec![] }
        );
    }

    #[test]
    fn a_damaged_file_is_replaced_by_the_built_in_rules() {
        let mut shown = String::new();
        for bytes in [&b"TZif"[..], b"", &[b'x'; 300_000]] {
            let (folder, places) = planted(Some("2999a"));
            fs::write(folder.path().join("Europe/London"), bytes).unwrap();
            let mut zones = Zones::new(places);
            assert_eq!(noon(zones.find("Europe/London").unwrap()), "13:00:00+01:00");
            let faults = zones.in_use().faults;
            assert_eq!(faults.len(), 1, "{faults:?}");
            // A zone that is not built in either may be looked up repeatedly.
            fs::write(folder.path().join("Europe/Atlantis"), bytes).unwrap();
            assert!((0..3).all(|_| zones.find("Europe/Atlantis").is_err()));
            let faults = zones.in_use().faults;
            assert_eq!(faults.len(), 2, "{faults:?}");
            shown += &redact(&(faults.join("\n") + "\n")).replace(BUNDLED_RELEASE, "[RELEASE]");
        }
        expect![[r#"
            [FOLDER]/Europe/London: it is not a time zone's file (TZif, RFC 9636): invalid 32-bit TZif header: too short; its rules of [RELEASE], which are built in, are used
            [FOLDER]/Europe/Atlantis: it is not a time zone's file (TZif, RFC 9636): invalid 32-bit TZif header: too short; that zone is not built in either
            [FOLDER]/Europe/London: it is not a time zone's file (TZif, RFC 9636): invalid 32-bit TZif header: too short; its rules of [RELEASE], which are built in, are used
            [FOLDER]/Europe/Atlantis: it is not a time zone's file (TZif, RFC 9636): invalid 32-bit TZif header: too short; that zone is not built in either
            [FOLDER]/Europe/London: it has more than 65536 bytes; its rules of [RELEASE], which are built in, are used
            [FOLDER]/Europe/Atlantis: it has more than 65536 bytes; that zone is not built in either
        "#]].assert_eq(&shown);
    }

    #[test]
    fn a_zone_that_is_looked_up_first_hides_no_change_of_other_zones() {
        let (folder, places) = planted(Some("2999a"));
        let mut zones = Zones::new(places);
        let london = zones.find("Europe/London").unwrap();
        plant(folder.path(), "Asia/Kolkata");
        zones.find("Asia/Kathmandu").unwrap();
        assert_eq!(zones.look_again(), None, "it may not be complete yet");
        assert_eq!(zones.look_again().unwrap().zones, [london]);
    }

    #[test]
    fn a_missing_stored_zone_is_reported_until_the_system_has_it_again() {
        let (folder, places) = planted(Some("2999a"));
        let mut zones = Zones::new(places);
        assert!(zones.find_stored("../London").is_err() && zones.find("Europe/Atlantis").is_err());
        let zone = zones.find_stored("Europe/Atlantis").unwrap();
        assert_eq!((zone.name(), noon(zone).as_str()), ("Europe/Atlantis", "12:00:00Z"));
        expect![[r#"
            2999a, from [FOLDER], without Europe/Atlantis
            neither the system nor Roost knows the time zone Europe/Atlantis: its times are treated as UTC"#]]
        .assert_eq(&redact(&format!("{}\n{}", zones.in_use(), zones.in_use().faults.join("\n"))));
        assert!(zones.find("Europe/Atlantis").is_err(), "settings cannot name it");
        fs::copy(folder.path().join("Europe/London"), folder.path().join("Europe/Atlantis")).unwrap();
        assert_eq!(zones.look_again(), None, "it may not be complete yet");
        let changed = zones.look_again().unwrap();
        assert_eq!((changed.zones, changed.in_use.faults), (vec![zone], vec![]));
        assert_eq!(noon(zones.find("Europe/Atlantis").unwrap()), "21:00:00+09:00");
    }

    #[test]
    fn changed_rules_are_read_once_they_are_stable() {
        let (folder, places) = planted(Some("2999a"));
        let mut zones = Zones::new(places);
        let (london, nepal) = (zones.find("Europe/London").unwrap(), zones.find("Asia/Kathmandu").unwrap());
        assert_eq!(zones.look_again(), None);
        plant(folder.path(), "Asia/Kolkata");
        fs::write(folder.path().join("tzdata.zi"), "# version 2999b\n").unwrap();
        assert_eq!(zones.look_again(), None, "it may not be complete yet");
        let changed = zones.look_again().unwrap();
        assert_eq!((changed.zones, changed.in_use.release.as_deref()), (vec![london], Some("2999b")));
        assert_eq!((noon(london), noon(nepal)), ("17:30:00+05:30".to_owned(), "17:45:00+05:45".to_owned()));
        assert_eq!(zones.look_again(), None);
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(zones.look_again(), None);
        let gone = zones.look_again().unwrap();
        assert_eq!((gone.zones, gone.in_use.folder), (vec![london], None));
        assert_eq!(noon(london), "13:00:00+01:00");
    }
}
