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
