use super::*;

#[test]
fn folders_that_are_asked_for_come_first_and_empty_ones_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let [asked, version, path] = ["asked", "version", "path"].map(|name| folder.path().join(name));
    for folder in [&asked, &version, &path] {
        std::fs::create_dir(folder).unwrap();
    }
    let found = |asked: &OsStr| first("server", (asked, vec![version.clone()], path.as_os_str()));
    assert_eq!(found(asked.as_os_str()), None);
    for folder in [&path, &version, &asked] {
        std::fs::write(folder.join("server"), "").unwrap();
        assert_eq!(found(asked.as_os_str()), Some(folder.join("server")));
    }
    assert_eq!(found(OsStr::new("")), Some(version.join("server")));
    assert_eq!(first("Cargo.toml", (OsStr::new(""), vec![], OsStr::new(""))), None);
}

#[test]
fn nothing_is_asked_for_mostly() {
    check(OsStr::new(""));
    check(tempfile::tempdir().unwrap().path().as_os_str());
}

#[test]
#[should_panic(expected = "names /nowhere: not the full path of a folder")]
fn a_folder_that_is_not_there_is_no_version() {
    check(OsStr::new("/nowhere"));
}

#[test]
#[should_panic(expected = "names src: not the full path of a folder")]
fn a_relative_path_leads_elsewhere_from_each_crate() {
    check(OsStr::new("src"));
}
