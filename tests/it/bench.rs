//! `vitrine bench` as an operator uses it: every sub-command against a real server, what it reports, what it leaves.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::data::bytes;
use crate::harness::server::{Options, binary};
use crate::harness::{Server, eventually};

/// What names of the images of a load begin with.
const PREFIX: &str = "vitrine-bench-";

/// `vitrine bench` with these arguments, in a directory and an environment without clouds.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = binary();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OS_") {
            command.env_remove(name);
        }
    }
    command.arg("bench").args(arguments).current_dir(directory).env("HOME", directory).env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().expect("starting vitrine bench")
}

/// What it prints; it must end with this code.
#[track_caller]
fn expect(code: i32, output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

fn ours() -> Server {
    Server::ours(Options::default())
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

fn listed(server: &Server) -> Vec<Value> {
    server.get("/v2/images?limit=1000").expect(200).json()["images"].as_array().expect("a list").clone()
}

#[track_caller]
fn assert_nothing_left(server: &Server) {
    assert_eq!(listed(server), Vec::<Value>::new());
    server.assert_bytes_gone(None);
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("the report")).expect("JSON")
}

fn operation<'v>(report: &'v Value, name: &str) -> &'v Value {
    let operations = report["endpoints"][0]["operations"].as_array().expect("operations");
    operations.iter().find(|each| each["name"] == name).unwrap_or_else(|| panic!("no {name} in {operations:?}"))
}

#[test]
fn every_load_runs_is_reported_and_leaves_nothing() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let url = url(&server);
    let loads: [(&[&str], &[&str]); 4] = [
        (&["pull", "--size", "3MiB", "--images", "2"], &["pull"]),
        (&["push", "--sizes", "1MiB=3,2MiB=1"], &["push", "push.create", "push.upload", "push.show", "push.delete"]),
        (
            &["mixed", "--sizes", "1MiB", "--mix", "pull=40,push=20,metadata=40"],
            &["pull", "push.upload", "show", "list"],
        ),
        (&["metadata"], &["show", "list", "create", "patch", "delete"]),
    ];
    for (load, operations) in loads {
        let mut arguments = load.to_vec();
        arguments.extend([&url, "-d", "700ms", "--warmup", "100ms", "--concurrency", "4", "--connections", "6"]);
        arguments.extend(["--json", "report.json", "--html", "report.html"]);
        let (out, err) = expect(0, &run(home.path(), &arguments));
        assert!(out.contains("none was wrong") && err.contains("deletes what it made at the end"), "{out}{err}");
        let report = read_json(&home.path().join("report.json"));
        assert_eq!((report["format"].as_str(), report["version"].as_u64()), (Some("vitrine-bench"), Some(1)));
        assert_eq!(report["endpoints"][0]["url"], url.as_str());
        for name in operations {
            let operation = operation(&report, name);
            assert!(operation["requests"].as_u64() > Some(0), "{operation}");
            assert_eq!(operation["errors"], json!({}), "{operation}");
            let latency = &operation["latency_us"];
            let figures = ["p50", "p90", "p99", "p999", "max"].map(|key| latency[key].as_f64().expect("a number"));
            assert!(figures[0] > 0.0 && figures.is_sorted(), "{latency}");
            let counted = operation["histogram"].as_array().expect("bars").iter().map(|bar| bar[1].as_u64());
            assert_eq!(counted.sum::<Option<u64>>(), operation["requests"].as_u64());
            assert!(out.lines().any(|line| line.trim_start().starts_with(name)), "{out}");
        }
        let round = &report["rounds"][0];
        assert!((0.5..3.0).contains(&round["seconds"].as_f64().expect("a number")), "{round}");
        assert!(round["server_cpu"].as_f64().is_some(), "the server listens on this machine: {round}");
        assert!(round["slices"].as_array().is_some_and(|slices| !slices.is_empty()));
        let page = fs::read_to_string(home.path().join("report.html")).expect("the page");
        assert!(page.contains("<svg") && page.ends_with("</html>\n"));
        for foreign in ["<script", "<link", "<img", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign} in the page");
        }
        assert_nothing_left(&server);
    }
}

#[test]
fn pulled_bytes_are_those_that_the_server_has_sent() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let url = url(&server);
    for more in [&["--range", "100KiB"][..], &[], &["--no-verify"]] {
        let mut arguments = vec!["pull", &url, "--size", "1MiB", "--count", "40", "--json", "r.json"];
        arguments.extend(more);
        expect(0, &run(home.path(), &arguments));
        let report = read_json(&home.path().join("r.json"));
        let pull = operation(&report, "pull");
        assert_eq!(pull["requests"], 40, "{pull}");
        let each: u64 = if more.contains(&"--range") { 100 << 10 } else { 1 << 20 };
        assert_eq!(pull["bytes"], 40 * each, "{pull}");
        assert_eq!(report["rounds"][0]["bytes_down"], 40 * each);
        assert!(pull["first_byte_us"]["p50"].as_f64() > Some(0.0));
    }
    assert_nothing_left(&server);
}

#[test]
fn an_open_loop_keeps_its_rate_and_owns_up_to_what_it_could_not_do() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let url = url(&server);
    let load = |rate: &str, more: &[&str]| {
        let mut arguments = vec!["metadata", &url, "--mix", "show=1", "--rate", rate, "-d", "1s", "--warmup", "0s"];
        arguments.extend(["--json", "r.json"]);
        arguments.extend(more);
        let (out, _) = expect(0, &run(home.path(), &arguments));
        (out, read_json(&home.path().join("r.json")))
    };
    let (_, report) = load("50", &[]);
    let show = operation(&report, "show");
    let dropped = report["rounds"][0]["dropped"].as_u64().expect("a number");
    assert_eq!(show["requests"].as_u64().expect("a number") + dropped, 50, "{report}");
    // More than one connection can do, with no patience: what did not begin is counted.
    let (out, report) = load("200000", &["--concurrency", "1", "--drop-after", "5ms"]);
    let round = &report["rounds"][0];
    let done = operation(&report, "show")["requests"].as_u64().expect("a number");
    assert_eq!(done + round["dropped"].as_u64().expect("a number"), 200_000, "{round}");
    assert!(round["dropped"].as_u64() > Some(100_000) && out.contains("were dropped"), "{out}");
}

#[test]
fn an_image_that_was_there_is_read_and_kept() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let id = server.active(&bytes(5, 3_000_001));
    for more in [&["--range", "64KiB"][..], &[]] {
        let mut arguments = vec!["pull", "--endpoint"];
        let url = url(&server);
        arguments.extend([url.as_str(), "--image", &id, "--count", "20"]);
        arguments.extend(more);
        let (out, _) = expect(0, &run(home.path(), &arguments));
        assert!(out.contains("none was wrong"), "{out}");
    }
    let ids: Vec<Value> = listed(&server).into_iter().map(|image| image["id"].clone()).collect();
    assert_eq!(ids, [json!(id)]);
}

/// A proxy that changes byte `at` of what the server sends on each connection. Its address.
fn corrupting(server: SocketAddr, at: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let pump = |mut from: TcpStream, mut to: TcpStream, at: u64| {
        let mut piece = vec![0; 64 * 1024];
        let mut done = 0;
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if let Some(byte) = at.checked_sub(done).and_then(|at| piece[..count].get_mut(usize::try_from(at).ok()?)) {
                *byte ^= 0x40;
            }
            done += count as u64;
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(server) else { continue };
            let (Ok(from), Ok(to)) = (client.try_clone(), upstream.try_clone()) else { continue };
            thread::spawn(move || pump(from, to, u64::MAX));
            thread::spawn(move || pump(upstream, client, at));
        }
    });
    address
}

#[test]
fn one_wrong_byte_fails_the_run_and_is_told() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let proxy = format!("http://{}", corrupting(server.address, 2_500_000));
    for more in [&[][..], &["--range", "3MiB"]] {
        let mut arguments = vec!["pull", &proxy, "--size", "4MiB", "--count", "2", "--concurrency", "1"];
        arguments.extend(more);
        // After the first wrong byte the connection is given up, and the second has one at the same place.
        let (out, err) = expect(1, &run(home.path(), &arguments));
        assert!(err.contains("wrong bytes in 2 answers") && err.contains("of the image is 0x"), "{err}");
        assert!(out.contains("WRONG BYTES in 2 answers") && out.contains("2 x wrong bytes"), "{out}");
    }
    // Of an image of others the first download is wrong already.
    let id = server.active(&bytes(6, 4 << 20));
    let arguments = ["pull", &proxy, "--image", &id, "--count", "2"];
    let (_, err) = expect(1, &run(home.path(), &arguments));
    assert!(err.contains("wrong bytes") && err.contains("checksum"), "{err}");
    server.delete(&format!("/v2/images/{id}")).expect(204);
    // Who does not look sees nothing.
    let arguments = ["pull", &proxy, "--size", "4MiB", "--count", "2", "--no-verify"];
    let (out, _) = expect(0, &run(home.path(), &arguments));
    assert!(out.contains("not compared"), "{out}");
    assert_nothing_left(&server);
}

fn pid(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id")
}

fn start(server: &Server, home: &Path, load: &[&str]) -> Child {
    let url = url(server);
    let mut arguments = load.to_vec();
    arguments.extend([&url, "-d", "60s"]);
    let child = command(home, &arguments).spawn().expect("starting vitrine bench");
    eventually(Duration::from_secs(20), || (!listed(server).is_empty()).then_some(())).expect("images of the load");
    child
}

#[test]
fn a_signal_ends_the_load_and_leaves_nothing() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    for (load, signal) in [
        (&["pull", "--size", "64MiB"][..], Signal::INT),
        (&["push", "--size", "32MiB"], Signal::TERM),
        (&["metadata"], Signal::INT),
    ] {
        let child = start(&server, home.path(), load);
        thread::sleep(Duration::from_millis(300));
        kill_process(pid(&child), signal).expect("it runs");
        let (out, err) = expect(1, &child.wait_with_output().expect("its end"));
        assert!(err.contains("interrupted") && err.lines().count() <= 3, "{out}{err}");
        assert_nothing_left(&server);
    }
}

#[test]
fn clean_deletes_what_a_killed_run_has_left_and_nothing_else() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let mut child = start(&server, home.path(), &["metadata"]);
    child.kill().expect("it runs");
    child.wait().expect("its end");
    // What it had asked for may still be made.
    let settled = eventually(Duration::from_secs(20), || {
        let before = listed(&server).len();
        thread::sleep(Duration::from_millis(300));
        (before > 0 && listed(&server).len() == before).then_some(())
    });
    assert!(settled.is_some());
    // One that only has the name, and one that only has the property.
    let kept = [
        server.create(&json!({"name": format!("{PREFIX}mine")})),
        server.create(&json!({"name": "mine", "vitrine_bench": "x"})),
    ];
    let left = listed(&server).len() - 2;
    assert!(left > 0);
    let url = url(&server);
    let (out, _) = expect(0, &run(home.path(), &["clean", &url, "--dry-run"]));
    assert!(out.contains(&format!("{left} images would be deleted")), "{out}");
    let (out, _) = expect(0, &run(home.path(), &["clean", &url, "--run", "nosuchrun"]));
    assert!(out.contains("0 images were deleted"), "{out}");
    let (out, _) = expect(0, &run(home.path(), &["clean", &url]));
    assert!(out.contains(&format!("{left} images were deleted")), "{out}");
    let mut ids: Vec<String> = listed(&server).iter().map(|image| image["id"].to_string()).collect();
    let mut expected = kept.map(|image| image["id"].to_string()).to_vec();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[test]
fn two_endpoints_take_turns_and_are_compared() {
    let (one, two) = (ours(), ours());
    let home = tempfile::tempdir().expect("a directory");
    let (first, second) = (url(&one), url(&two));
    let arguments =
        ["pull", &first, "--against", &second, "--rounds", "4", "-d", "300ms", "--warmup", "100ms", "--size"];
    let arguments = [&arguments[..], &["1MiB", "--json", "ab.json", "--html", "ab.html"]].concat();
    let (out, _) = expect(0, &run(home.path(), &arguments));
    let report = read_json(&home.path().join("ab.json"));
    let turns: Vec<&str> =
        report["rounds"].as_array().expect("rounds").iter().filter_map(|round| round["endpoint"].as_str()).collect();
    assert_eq!(turns, ["A", "B", "A", "B", "A", "B", "A", "B"]);
    let comparison = report["comparison"].as_array().expect("verdicts");
    let throughput = comparison.iter().find(|each| each["metric"] == "throughput").expect("a verdict");
    assert!(throughput["interval"].is_array() && throughput["values"] == json!([4, 4]), "{throughput}");
    assert!(out.contains("B against A (4 rounds)") && out.contains("95 % CI"), "{out}");
    assert!(fs::read_to_string(home.path().join("ab.html")).expect("the page").contains("B against A"));
    assert_nothing_left(&one);
    assert_nothing_left(&two);

    // The same report against itself: no difference. Against one that is twice as fast: one.
    let mut faster = report.clone();
    for round in faster["rounds"].as_array_mut().expect("rounds") {
        round["bytes_down"] = json!(round["bytes_down"].as_u64().expect("a number") * 20);
    }
    fs::write(home.path().join("faster.json"), faster.to_string()).expect("a file");
    let (out, _) = expect(0, &run(home.path(), &["compare", "ab.json", "ab.json"]));
    assert!(out.contains("no difference found") && !out.contains("faster"), "{out}");
    let (out, _) = expect(0, &run(home.path(), &["compare", "ab.json", "faster.json"]));
    assert!(out.contains("faster by 1900 % (95 % CI "), "{out}");
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let url = url(&server);
    fs::write(home.path().join("other.json"), "{}").expect("a file");
    fs::write(
        home.path().join("clouds.yaml"),
        "clouds: {known: {auth_type: none, auth: {endpoint: 'http://127.0.0.1:1'}}}",
    )
    .expect("a file");
    let failures: [(&[&str], &str); 7] = [
        (&["pull", "http://127.0.0.1:1"], "connecting to http://127.0.0.1:1"),
        (&["pull"], "--os-cloud"),
        (&["push", "--os-cloud", "none"], "there are: known"),
        (&["push", "--os-cloud", "known"], "connecting to http://127.0.0.1:1"),
        (&["pull", &url, "--image", "no-such-image"], "404"),
        (&["pull", &url, "--server-pid", "4194304"], "4194304"),
        (&["compare", "other.json", "other.json"], "no report of vitrine bench"),
    ];
    for (arguments, expected) in failures {
        let (out, err) = expect(1, &run(home.path(), arguments));
        let last = err.lines().last().unwrap_or_default();
        assert!(last.contains(expected), "{arguments:?}: {err}");
        let lines = err.lines().filter(|line| !line.contains("deletes what it made at the end")).count();
        assert!(lines == 1 && out.is_empty(), "{arguments:?}: {out}{err}");
    }
    for arguments in [
        &["pull", &url, "--size", "1MB"][..],
        &["pull", &url, "--sizes", "1MiB=0"],
        &["pull", "127.0.0.1:9292"],
        &["pull", &url, "--concurrency", "0"],
        &["pull", &url, "--concurrency", "4", "--connections", "2"],
        &["pull", &url, "--rate", "fast"],
        &["push", &url, "--size", "1TiB"],
        &["mixed", &url, "--mix", "pull"],
        &["metadata", &url, "--mix", "pull=1"],
        &["metadata", &url, "--errors-allowed", "101"],
        &["race"],
    ] {
        let (_, err) = expect(2, &run(home.path(), arguments));
        assert!(!err.contains("panicked"), "{err}");
    }
    assert_nothing_left(&server);
}

#[test]
fn clouds_and_variables_lead_to_the_endpoint() {
    let server = ours();
    let home = tempfile::tempdir().expect("a directory");
    let url = url(&server);
    let config = home.path().join(".config/openstack");
    fs::create_dir_all(&config).expect("a directory");
    let text = format!("clouds:\n  here:\n    auth_type: none\n    auth:\n      endpoint: {url}/v2\n");
    fs::write(config.join("clouds.yaml"), text).expect("a file");
    let load = ["metadata", "--count", "20"];
    expect(0, &run(home.path(), &[&load[..], &["--os-cloud", "here"]].concat()));
    let by_name = command(home.path(), &load).env("OS_CLOUD", "here").output().expect("starting");
    expect(0, &by_name);
    let variables = command(home.path(), &load).env("OS_AUTH_TYPE", "none").env("OS_ENDPOINT", &url).output();
    expect(0, &variables.expect("starting"));
    assert_nothing_left(&server);
}
