use super::*;
use crate::builtin::{self, Recipe, Source};
use serde_json::json;

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut b = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut h = tar::Header::new_gnu();
        h.set_size(data.len() as u64);
        h.set_mode(0o644);
        b.append_data(&mut h, name, *data).unwrap();
    }
    b.into_inner().unwrap()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": null},
        "rootfs": {"type": "layers", "diff_ids": ids}})
    .to_string()
    .into_bytes()
}

fn oci_archive(name: &str, layer: &[u8], lie: bool) -> Vec<u8> {
    let config = config(&[layer]);
    let manifest = json!({"schemaVersion": 2, "config": {"digest": Digest::of(&config).to_string()},
        "layers": [{"digest": Digest::of(layer).to_string()}]})
    .to_string();
    let digest = if lie { Digest::of(b"other") } else { Digest::of(manifest.as_bytes()) };
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": digest.to_string(),
        "annotations": {"io.containerd.image.name": name}}]})
    .to_string();
    let blob = |d: Digest| format!("blobs/sha256/{}", d.hex());
    tar_of(&[
        ("index.json", index.as_bytes()),
        (&blob(Digest::of(&config)), &config),
        (&blob(digest), manifest.as_bytes()),
        (&blob(Digest::of(layer)), layer),
    ])
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("images")).unwrap();
    World { dir, store }
}

impl World {
    fn import(&self, bytes: &[u8]) -> Result<Vec<Image>, Error> {
        let file = self.dir.path().join("a.tar");
        fs::write(&file, bytes).unwrap();
        crate::archive::import(&self.store, &file)
    }

    /// What all sessions have under way: their files beside the one that says that they live.
    fn staged(&self) -> usize {
        let files = |d: PathBuf| fs::read_dir(d).unwrap().count() - 1;
        let sessions = fs::read_dir(self.store.root().join("staging")).unwrap();
        sessions.map(|s| files(s.unwrap().path())).sum()
    }
}

#[test]
fn oci_archive_by_name_digest_and_id() {
    let w = world();
    let layer = tar_of(&[("hello", b"x")]);
    let image = w.import(&oci_archive("localhost/a:v1", &layer, false)).unwrap().remove(0);
    assert_eq!((&image.tags[..], image.config.cmd[0].as_str()), (&["localhost/a:v1".to_owned()][..], "sh"));
    for name in ["localhost/a:v1", &image.digests[0], &image.id, &image.id[7..19]] {
        assert_eq!(w.store.find(name).unwrap().as_ref(), Some(&image), "{name}");
    }
    assert!(w.store.layer_dirs(&image)[0].join("hello").is_file());
    assert_eq!(w.store.find("localhost/a:v2").unwrap(), None);
    // Another handle, as another process would have, sees it too.
    assert_eq!(Store::open(w.store.root()).unwrap().list().unwrap(), [image]);
}

#[test]
fn docker_archive_with_two_names() {
    let w = world();
    let layer = tar_of(&[("hello", b"x")]);
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["a:1", "b:2"], "Layers": ["l/layer.tar"]}]).to_string();
    let archive = tar_of(&[
        ("l/layer.tar", &layer),
        ("c.json", &config(&[&layer])),
        ("manifest.json", manifest.as_bytes()),
    ]);
    let image = w.import(&archive).unwrap().remove(0);
    assert_eq!(image.tags, ["docker.io/library/a:1", "docker.io/library/b:2"]);
    w.store.remove("a:1").unwrap();
    assert_eq!(w.store.find("a:1").unwrap(), None);
    assert!(w.store.find("b:2").unwrap().is_some());
    w.store.remove("b:2").unwrap();
    assert!(w.store.list().unwrap().is_empty());
    assert!(w.store.layer_dir(&image.layers[0]).is_dir());
    w.store.collect(&BTreeSet::new()).unwrap();
    assert!(!w.store.layer_dir(&image.layers[0]).exists());
}

#[test]
fn a_name_moves_to_the_newer_image() {
    let w = world();
    let (old, new) = (tar_of(&[("v", b"1")]), tar_of(&[("v", b"2")]));
    let old = w.import(&oci_archive("x/a:latest", &old, false)).unwrap().remove(0);
    let new = w.import(&oci_archive("x/a:latest", &new, false)).unwrap().remove(0);
    assert_eq!(w.store.find("x/a").unwrap().unwrap().id, new.id);
    assert!(w.store.find(&old.id).unwrap().unwrap().tags.is_empty());
}

#[test]
fn hostile_archives() {
    let w = world();
    let layer = tar_of(&[("hello", b"x")]);
    let lie = w.import(&oci_archive("x/a:1", &layer, true)).unwrap_err().to_string();
    assert!(lie.contains("and the content is"), "{lie}");
    let climb = json!([{"Config": "../../../etc/passwd", "Layers": []}]).to_string();
    let error = w.import(&tar_of(&[("manifest.json", climb.as_bytes())])).unwrap_err().to_string();
    assert!(error.contains("the archive has no"), "{error}");
    let wrong = json!([{"Config": "c.json", "Layers": ["l.tar"]}]).to_string();
    let swapped = tar_of(&[
        ("l.tar", &tar_of(&[("evil", b"x")])),
        ("c.json", &config(&[&layer])),
        ("manifest.json", wrong.as_bytes()),
    ]);
    assert!(w.import(&swapped).unwrap_err().to_string().contains("and the image says"));
    assert!(w.import(b"not a tar at all").is_err());
    assert!(w.import(&tar_of(&[("readme", b"x")])).unwrap_err().to_string().contains("no image archive"));
    assert!(w.store.list().unwrap().is_empty());
    assert_eq!(w.staged(), 0);
}

#[test]
fn an_image_of_this_machines_files() {
    let w = world();
    let program = w.dir.path().join("program");
    fs::write(&program, "x").unwrap();
    let recipe = Recipe {
        name: "ironclad.local/demo:latest".into(),
        fingerprint: "v1".into(),
        files: vec![Source { from: program, to: "/bin/program".into() }],
        entrypoint: vec!["/bin/program".into()],
        cmd: vec![],
        user: "65532".into(),
    };
    let first = builtin::ensure(&w.store, &recipe).unwrap();
    assert_eq!(builtin::ensure(&w.store, &recipe).unwrap(), first);
    assert!(w.store.layer_dirs(&first)[0].join("bin/program").is_file());
    let newer = builtin::ensure(&w.store, &Recipe { fingerprint: "v2".into(), ..recipe }).unwrap();
    assert_ne!(newer.id, first.id);
    assert_eq!(w.store.find("ironclad.local/demo").unwrap().unwrap().id, newer.id);
}

#[test]
fn a_collection_spares_what_is_in_the_making() {
    let w = world();
    let other = Store::open(w.store.root()).unwrap();
    let bytes = tar_of(&[("hello", b"x")]);
    let id = Digest::of(&bytes);
    let lease = other.hold(&[id]).unwrap();
    let staging = other.stage().unwrap();
    other.add_layer(&bytes[..], &id).unwrap();
    w.store.collect(&BTreeSet::new()).unwrap();
    assert!(w.store.layer(&id).is_some() && staging.path().is_dir());
    drop(lease);
    w.store.collect(&BTreeSet::from([w.store.layer_dir(&id.to_string())])).unwrap();
    assert!(w.store.layer(&id).is_some(), "a container has it mounted");
    w.store.collect(&BTreeSet::new()).unwrap();
    assert!(w.store.layer(&id).is_none() && staging.path().is_dir());
}

#[test]
fn a_collection_clears_what_the_dead_left() {
    let w = world();
    // As kill -9 leaves it: a session whose lock nobody holds, with a half-filled directory and a held layer.
    let dead = w.store.root().join("staging/1-0");
    fs::create_dir_all(dead.join("0/usr")).unwrap();
    let bytes = tar_of(&[("hello", b"x")]);
    let id = Digest::of(&bytes);
    for file in ["alive", &format!("{}.1.held", id.hex())] {
        fs::write(dead.join(file), "").unwrap();
    }
    w.store.add_layer(&bytes[..], &id).unwrap();
    w.store.collect(&BTreeSet::new()).unwrap();
    w.store.collect(&BTreeSet::new()).unwrap();
    assert!(!dead.exists());
    assert!(w.store.layer(&id).is_none());
    assert_eq!(w.staged(), 0);
    drop(Store::open(w.store.root()).unwrap().stage().unwrap());
    assert_eq!(
        fs::read_dir(w.store.root().join("staging")).unwrap().count(),
        1,
        "a closed store leaves nothing"
    );
}

#[test]
fn equal_layers_are_mounted_once() {
    let w = world();
    let (a, b) = (tar_of(&[("a", b"x")]), tar_of(&[("b", b"yy")]));
    let layers: Vec<Layer> =
        [&a, &b, &a].iter().map(|l| w.store.add_layer(&l[..], &Digest::of(l)).unwrap()).collect();
    let image = w.store.add_image(&config(&[&a, &b, &a]), &[], &[], &layers).unwrap();
    let dir = |l: &[u8]| w.store.layer_dir(&Digest::of(l).to_string());
    assert_eq!(w.store.layer_dirs(&image), [dir(&a), dir(&b)]);
    assert_eq!(image.size, 3);
}

#[test]
fn what_a_power_cut_may_have_torn_is_not_here() {
    let w = world();
    let (a, b) = (tar_of(&[("a", b"x")]), tar_of(&[("b", b"y")]));
    let kept = w.import(&oci_archive("x/a:1", &a, false)).unwrap().remove(0);
    w.store.settle().unwrap();
    let torn = w.import(&oci_archive("x/b:1", &b, false)).unwrap().remove(0);
    let mut later = Store::open(w.store.root()).unwrap();
    assert_eq!(later.list().unwrap().len(), 2);
    later = Store::open(w.store.root()).unwrap();
    later.boot = "another".into();
    assert_eq!(later.list().unwrap(), [kept]);
    assert!(later.layer(&Digest::of(&a)).is_some() && later.layer(&Digest::of(&b)).is_none());
    let torn_file = later.layer_dirs(&torn)[0].join("b");
    fs::write(&torn_file, "").unwrap();
    later.add_layer(&b[..], &Digest::of(&b)).unwrap();
    assert_eq!(fs::read(&torn_file).unwrap(), b"y");
    assert!(later.layer(&Digest::of(&b)).is_some());
}

#[test]
fn a_pinned_image_stays_so_when_it_comes_again() {
    let w = world();
    let archive = oci_archive("x/a:1", &tar_of(&[("a", b"x")]), false);
    let image = w.import(&archive).unwrap().remove(0);
    assert!(!image.pinned);
    w.store.pin(&[image.id.clone(), "sha256:absent".to_owned()].into()).unwrap();
    w.import(&archive).unwrap();
    assert!(w.store.find("x/a:1").unwrap().unwrap().pinned);
}
