//! Messages between the planes, to JSON and back.

use std::fmt::Debug;

use common::identity::{Identity, Proof};
use common::rpc::{CommitUpload, Envelope, Examination, Findings, OpenUpload, ToControl, UploadTarget, UploadTicket};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runner::{Amount, Runner};

const ID: &str = "0f2c1f9e-5a0b-4f0e-9d8e-3b1c1a2d4e5f";

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let text = str::to_owned;
    let open = ToControl::OpenUpload(OpenUpload {
        instance: text(ID),
        image_id: text(ID),
        proof: Proof { token: Some("gAAAAABm".repeat(23)), service_token: None },
        request_id: format!("req-{ID}"),
        content_type: Some(text("application/octet-stream")),
        image_size: None,
        content_length: Some(2 << 30),
        store: None,
        target: UploadTarget::Store,
    });
    let commit = ToControl::CommitUpload(CommitUpload {
        upload_id: text(ID),
        size: 2 << 30,
        findings: Some(Findings {
            virtual_size: Some(2 << 30),
            checksum: "0123456789abcdef".repeat(2),
            hash_value: "0123456789abcdef".repeat(8),
            signed_hash_value: None,
        }),
    });
    let ticket = UploadTicket {
        upload_id: text(ID),
        store: text("file"),
        url: format!("file:///var/lib/glance/images/{ID}"),
        expected_size: Some(2 << 30),
        size_max: 1 << 40,
        reserved: None,
        examination: Some(Examination {
            hash_algo: text("sha512"),
            disk_format: text("qcow2"),
            container_format: text("bare"),
            signed_hash_algo: None,
        }),
    };
    message(runner, "open upload", Envelope::new(open));
    message(runner, "commit upload", Envelope::new(commit));
    message(runner, "ticket", ticket);
    message(runner, "identity", Identity::everybody());
}

fn message<M: Serialize + DeserializeOwned + Debug>(runner: &mut Runner, name: &str, message: M) {
    let wire = serde_json::to_vec(&message).expect("a message serialises");
    let (length, text) = (wire.len(), format!("{message:?}"));
    runner.case(&format!("rpc/encode {name}"), Amount::Operations(1), || {
        move || {
            let wire = serde_json::to_vec(&message).expect("a message serialises");
            assert_eq!(wire.len(), length);
            wire
        }
    });
    runner.case(&format!("rpc/decode {name}"), Amount::Operations(1), || {
        let back: M = serde_json::from_slice(&wire).expect("and back");
        assert_eq!(format!("{back:?}"), text);
        move || serde_json::from_slice::<M>(&wire).expect("and back")
    });
}
