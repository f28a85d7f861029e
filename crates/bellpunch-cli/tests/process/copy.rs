//! One process at a time on a folder; a backup is the same store.

use crate::load::{Client, World};
use crate::pause::copy_folder;
use crate::random::Random;
use crate::server::Server;
use crate::teller::recorder;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on_disk(&data);
    let store = crate::disk(&data);
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0", "--store", &store][..],
        &["export", "--store", &store],
        &["verify", "--store", &store],
        &["inspect", "--store", &store, "partitions"],
    ] {
        let output = crate::bellpunch(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{told}");
        assert!(told.contains("another process has it") && told.contains("data"), "{told}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(server.ended(), None, "the first one goes on");
    // A process that was killed leaves the folder free.
    server.kill();
    assert!(Server::on_disk(&data).terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_the_same_store() {
    let mut random = Random::seeded();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let recorder = recorder();
    let world = World::new(&recorder);
    let server = Server::on_disk(&data);
    world.furnish(server.address).await;
    let mut clients = Client::several(8, &world, &mut random);
    let working = Client::start(&mut clients, server.address);
    world.answered(300).await;
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    clients = working.join_all().await;

    let export = |name: &str| {
        let store = crate::disk(&folder.path().join(name));
        let output = crate::bellpunch(&["export", "--store", &store]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // The first line says when.
        text.split_once('\n').unwrap().1.to_owned()
    };
    let original = export("data");
    assert!(100 < original.lines().count());
    // As files, and as an export: payloads are files either way.
    copy_folder(&data, &folder.path().join("copied"));
    copy_folder(&folder.path().join("data-blobs"), &folder.path().join("copied-blobs"));
    let file = folder.path().join("all.ndjson");
    let file = file.to_str().unwrap();
    assert!(crate::bellpunch(&["export", "--store", &crate::disk(&data), file]).status.success());
    let imported = crate::disk(&folder.path().join("imported"));
    assert!(crate::bellpunch(&["import", "--store", &imported, file]).status.success());
    copy_folder(&folder.path().join("data-blobs"), &folder.path().join("imported-blobs"));
    for name in ["copied", "imported"] {
        crate::verify(&folder.path().join(name));
        assert!(export(name) == original, "{name} differs");
    }
    // The history goes on in a restored backup as if it were the original.
    let restored = folder.path().join("imported");
    let server = Server::on_disk(&restored);
    let working = Client::start(&mut clients, server.address);
    world.answered(200).await;
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    clients = working.join_all().await;
    let server = Server::on_disk(&restored);
    let summary = crate::load::end(server, (world, clients), &restored).await;
    println!("a backup: {summary:?}");
}
