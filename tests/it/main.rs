//! Black-box tests of the built `vitrine` binary: every test starts its own server on free ports with a data
//! directory of its own, and talks to it over plain sockets. No code of the product is linked, and nothing needs to be
//! installed, but for the tests of the feature `installed`, with which `tests/run` builds: qemu-img, Ceph and network
//! namespaces.
//!
//! `VITRINE_TEST_ENDPOINT=HOST:PORT` points the tests of modules `api_*`, `upload` and `download` at a server that
//! already runs (for example another implementation of the same API), with the headers of `VITRINE_TEST_HEADERS`
//! (`Name: value` joined by `|`) on every request and the files of `VITRINE_TEST_STORE` as its store directory.
//!
//! `VITRINE_TEST_CONFIG=FILE` is read by every server under test, before the settings of its test: the suite passes with each
//! of the ways in which bytes can go (`[dataplane] driver`, `send_path`).

// What only tests of the feature use.
#![cfg_attr(not(feature = "installed"), allow(dead_code, unused_imports))]

mod api_create;
mod api_delete;
mod api_discovery;
mod api_guard;
mod api_import;
mod api_list;
mod api_locations;
mod api_members;
mod api_patch;
mod api_stores;
mod bench;
mod bench_store;
mod crash;
mod download;
mod glance_download;
mod harness;
mod http_store;
mod import_deaths;
mod metadefs;
mod metrics;
#[cfg(feature = "installed")]
mod outbound;
mod planes;
mod plugins;
mod policy;
mod protections;
mod quotas;
mod security;
mod signatures;
mod slow;
mod start;
mod stores;
mod tls;
mod upload;
mod web_download;
