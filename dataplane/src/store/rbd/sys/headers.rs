//! What is declared here is what the headers of Ceph say, as far as a compiler can tell.

use std::fmt::Write;
use std::process::Command;

use super::table::{
    ClusterStat, EVENT_TYPE_EVENTFD, FEATURE_EXCLUSIVE_LOCK, FEATURE_FAST_DIFF, FEATURE_LAYERING, LOCK_MODE_EXCLUSIVE,
    RadosFunctions, RbdFunctions,
};

/// A Rust type in C.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    match rust {
        "c_int" | "i32" => "int".to_owned(),
        "u64" => "uint64_t".to_owned(),
        "i64" => "int64_t".to_owned(),
        "u8" => "uint8_t".to_owned(),
        "size_t" | "ssize_t" => rust.to_owned(),
        "RadosHandle" => "rados_t".to_owned(),
        "PoolHandle" => "rados_ioctx_t".to_owned(),
        "ImageHandle" => "rbd_image_t".to_owned(),
        "Completion" => "rbd_completion_t".to_owned(),
        "LockMode" => "rbd_lock_mode_t".to_owned(),
        "ClusterStat" => "struct rados_cluster_stat_t".to_owned(),
        "iovec" => "struct iovec".to_owned(),
        "c_char" => "char".to_owned(),
        "c_void" => "void".to_owned(),
        _ if rust.starts_with("*mut ") => format!("{} *", c_type(&rust[5..])),
        _ if rust.starts_with("*const ") => format!("const {} *", c_type(&rust[7..])),
        _ if rust.starts_with("extern \"C\" fn") => "int (*)(uint64_t, size_t, int, void *)".to_owned(),
        _ if rust.starts_with("Option<extern \"C\" fn") => "rbd_callback_t".to_owned(),
        other => panic!("no C type is known for {other}"),
    }
}

/// The arguments of a signature as `stringify!` gives it, split at the commas outside of brackets.
fn arguments(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '(' | '<' => depth += 1,
            ')' => depth -= 1,
            '>' if !list[..at].ends_with('-') => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

#[test]
fn the_declarations_are_those_of_the_headers() {
    let mut source = String::from(
        "#include <rados/librados.h>\n#include <rbd/librbd.h>\n#include <rbd/features.h>\n#include <sys/uio.h>\n",
    );
    let size = size_of::<ClusterStat>();
    for claim in [
        format!("EVENT_TYPE_EVENTFD == {EVENT_TYPE_EVENTFD}"),
        format!("RBD_FEATURE_LAYERING == {FEATURE_LAYERING}"),
        format!("RBD_FEATURE_FAST_DIFF == {FEATURE_FAST_DIFF}"),
        format!("RBD_FEATURE_EXCLUSIVE_LOCK == {FEATURE_EXCLUSIVE_LOCK}"),
        format!("RBD_LOCK_MODE_EXCLUSIVE == {LOCK_MODE_EXCLUSIVE} && sizeof(rbd_lock_mode_t) == sizeof(unsigned)"),
        format!("sizeof(struct rados_cluster_stat_t) == {size}"),
        "sizeof(rbd_image_t) == sizeof(void *) && sizeof(rbd_completion_t) == sizeof(void *)".to_owned(),
    ] {
        writeln!(source, "_Static_assert({claim}, \"\");").expect("a string takes everything");
    }
    let declared = RadosFunctions::DECLARED.iter().chain(RbdFunctions::DECLARED);
    for (index, (name, signature)) in declared.enumerate() {
        let signature = signature.replace('\n', " ");
        let (list, result) = match signature.rsplit_once(" -> ") {
            // The arrow of a callback stands inside of the list.
            Some((list, result)) if !result.contains(')') => (list.to_owned(), c_type(result)),
            _ => (signature.clone(), "void".to_owned()),
        };
        let inside = list.trim().trim_start_matches('(').strip_suffix(')').unwrap_or_default().to_owned();
        let types: Vec<String> = arguments(&inside).into_iter().map(c_type).collect();
        // A pointer to a function of the wrong type does not compile.
        let pointer = types.join(", ");
        writeln!(source, "{result} (*const declared_{index})({pointer}) = {name};").expect("a string takes everything");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("declarations.c");
    std::fs::write(&file, &source).expect("writes");
    let compiler = |arguments: &[&str]| Command::new("cc").args(arguments).output();
    if !compiler(&["-E", "-include", "rbd/librbd.h", "-x", "c", "/dev/null"])
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: no C compiler, or no headers of librbd (package librbd-dev)");
        return;
    }
    let path = file.to_str().expect("a plain name");
    let compiled = compiler(&["-c", "-Werror", "-Wall", "-o", "/dev/null", path]).expect("a compiler");
    assert!(compiled.status.success(), "{}\n{source}", String::from_utf8_lossy(&compiled.stderr));
}
