//! Files that are not plugins of this program, each with the message that the user reads.

use super::{changed, library, list, path};
use crate::tiny::Place;
use std::fs;
use std::path::{Path, PathBuf};

/// Overwrites a text in the template library's record with another of the same length; it stands
/// there once.
fn patched(place: &Place, name: &str, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    changed(place, name, |bytes| {
        let start = bytes.windows(16).position(|window| window == b"foil plugin\0\0\0\0\0").expect("a record");
        let found = bytes[start..].windows(from.len()).position(|window| window == from.as_bytes()).expect("the text");
        bytes[start + found..][..to.len()].copy_from_slice(to.as_bytes());
    })
}

#[track_caller]
fn refused(place: &Place, path: &Path, parts: &[&str]) -> String {
    let message = list(place, path).error();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in:\n{message}");
    }
    assert!(message.contains("\n  help: "), "{message}");
    message
}

#[test]
fn what_is_no_library() {
    let place = Place::with("");
    let file = |name: &str, bytes: &[u8]| {
        fs::write(place.path(name), bytes).unwrap();
        place.path(name)
    };
    refused(&place, &place.path("libnone.so"), &["there is no plugin library", "cargo build --release"]);
    refused(&place, &file("notes.so", b"To do: a loss.\n"), &["is not a library"]);
    refused(&place, &file("empty.so", b""), &["is not a library"]);
    refused(&place, &file("lib.rlib", b"!<arch>\nlib.rmeta"), &["for linking, not for loading", "cdylib"]);
    fs::create_dir(place.path("folder")).unwrap();
    refused(&place, &place.path("folder"), &["there is no plugin library in"]);
    let whole = fs::metadata(library("foil_template")).unwrap().len() as usize;
    for length in [64, 1000, 100_000, whole / 2, whole - 1] {
        let cut = changed(&place, "cut.so", |bytes| bytes.truncate(length));
        refused(&place, &cut, &["is damaged: parts of it are missing"]);
    }
    let arm = changed(&place, "arm.so", |bytes| bytes[18] = 183); // e_machine
    refused(&place, &arm, &["is for another processor (Aarch64)"]);
}

#[test]
fn libraries_of_others() {
    let place = Place::with("");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let c = maps.lines().find_map(|line| line.split_once('/').filter(|(_, path)| path.contains("libc.so"))).unwrap();
    let c = PathBuf::from(format!("/{}", c.1));
    refused(&place, &c, &["is not a plugin of foil: it was not built by Rust", "foil new-plugin"]);
    // The record's symbol under another name, in the table of names.
    let symbol = b"foil_plugin_foil_template\0";
    let nameless = changed(&place, "libnameless.so", |bytes| {
        let at: Vec<usize> = (0..bytes.len() - symbol.len()).filter(|&i| bytes[i..].starts_with(symbol)).collect();
        assert!(!at.is_empty());
        at.into_iter().for_each(|i| bytes[i] = b'g');
    });
    refused(&place, &nameless, &["is not a plugin of foil: it exports no plugin", "foil::export_plugin!();"]);
}

#[test]
fn libraries_that_were_built_otherwise() {
    let place = Place::with("");
    let foil = env!("CARGO_PKG_VERSION");
    let source = format!("{foil}, source ");
    for (row, from, to) in [
        ("rustc", "-unknown-", "-strange-"), // of `target`, which is always there
        ("foil", source.as_str(), "9.9.9, source "),
        ("tch", "0.24.0", "0.23.0"),
        ("libtorch", "2.11.0", "2.10.0"),
        ("features", "panic=unwind", "panic=aborts"),
    ] {
        let library = patched(&place, "libother.so", from, to);
        let message = refused(
            &place,
            &library,
            &[
                "plugin library libother.so was built differently from this program; it was not loaded",
                "this program",
                "the plugin",
                "rebuild foil-template in its folder, with what built this program: cargo build --release",
            ],
        );
        let differing: Vec<&str> = message.lines().filter(|line| line.ends_with("   differs")).collect();
        assert_eq!(differing.len(), 1, "{row}: {message}");
        assert!(differing[0].contains(to.trim()), "{message}");
        // The same can be read without loading anything.
        let shown = place.foil(&["plugins", "show", library.to_str().unwrap()]).ok().out;
        assert!(shown.contains(differing[0]), "{shown}");
    }
    let rustc = place.foil(&["plugins"]).ok().out;
    let rustc = rustc.lines().find_map(|line| line.trim().strip_prefix("rustc ")).unwrap().trim().to_string();
    let other = format!("0{}", &rustc[1..]);
    let message = refused(&place, &patched(&place, "librustc.so", &rustc, &other), &[&rustc, &other]);
    assert_eq!(message.lines().filter(|line| line.ends_with("differs")).count(), 1, "{message}");
    let interface = changed(&place, "libabi.so", |bytes| {
        let start = bytes.windows(16).position(|window| window == b"foil plugin\0\0\0\0\0").unwrap();
        bytes[start + 16] = 77;
    });
    refused(&place, &interface, &["has version 77 of foil's plugin interface"]);
}

#[test]
fn names_that_are_taken() {
    let place = Place::with("");
    let copy = changed(&place, "libcopy.so", |_| {});
    let template = path("foil_template");
    let message = place.foil(&["list", "--plugins", &template, "--plugins", copy.to_str().unwrap()]).error();
    for part in ["two plugins are called `template_", "libfoil_template.so (the crate foil-template)", "and libcopy.so"]
    {
        assert!(message.contains(part), "{message}");
    }
    let message = list(&place, &library("foil_methods")).error();
    assert!(
        message.contains("built-in foil-") && message.contains("and libfoil_methods.so (the crate foil-"),
        "{message}"
    );
    // Once more is nothing new.
    place.foil(&["list", "--plugins", &template, "--plugins", &template]).ok();
}

#[test]
fn a_misspelt_plugin_of_a_library_is_found_and_so_are_its_keys() {
    let place = Place::with("");
    let template = path("foil_template");
    let with = |words: &[&str]| place.foil(&[words, &["--plugins", &template]].concat());
    let message = with(&["explain", "tempalte_loss"]).error();
    assert!(message.contains("did you mean `template_loss`?"), "{message}");
    let page = with(&["explain", "template_loss"]).ok().out;
    assert!(page.contains("template_loss, a loss from libfoil_template.so (the crate foil-template)"), "{page}");
    assert!(with(&["schema"]).ok().out.contains("template_loss"));
    fs::write(
        place.path("tiny.yaml"),
        format!("{}loss: {{ type: template_loss, claen: 2 }}\n", crate::tiny::AT.replace("loss: at\n", "")),
    )
    .unwrap();
    let message = with(&["check", "tiny.yaml"]).error();
    assert!(message.contains("claen") && message.contains("did you mean `clean`?"), "{message}");
    let without = place.foil(&["check", "tiny.yaml"]).error();
    assert!(without.contains("template_loss"), "{without}");
}
