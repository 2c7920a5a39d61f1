//! Policy checks: the rules alone, and what a request asks of them.

use common::authorise::Authority;
use common::identity::Identity;
use common::model::{Image, Status, Visibility};
use common::policy::Policy;
use common::time::Timestamp;

use crate::runner::{Amount, Runner};

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let member = Identity {
        user_id: "u1".to_owned(),
        project_id: Some("p1".to_owned()),
        roles: vec!["member".to_owned(), "reader".to_owned()],
        ..Identity::default()
    };
    let other = Identity { project_id: Some("p2".to_owned()), ..member.clone() };
    let anonymous = Identity { project_id: None, ..member.clone() };
    runner.case("policy/one rule", Amount::Operations(1), || {
        let (policy, caller) = (Policy::defaults(), member.clone());
        move || assert!(policy.enforce("get_images", &caller.credentials(), &[("project_id", "p1")]))
    });
    let mut image = |name: &str, rule: &'static str, caller: &Identity, is_member: bool, passes: bool| {
        runner.case(name, Amount::Operations(1), || {
            let (authority, caller, image) = (Authority::new(Policy::defaults(), true), caller.clone(), shared());
            move || {
                let outcome = authority.enforce_image(rule, &caller, &image, is_member);
                assert_eq!(outcome.is_ok(), passes);
                outcome
            }
        });
    };
    image("policy/show, owner", "get_image", &member, false, true);
    image("policy/download, owner", "download_image", &member, false, true);
    image("policy/download, member", "download_image", &other, true, true);
    image("policy/show, refused", "get_image", &anonymous, false, false);
    image("policy/delete, refused", "delete_image", &other, true, false);
    runner.case("policy/read all rules", Amount::Operations(1), || Policy::defaults);
}

fn shared() -> Image {
    Image {
        id: "0f2c1f9e-5a0b-4f0e-9d8e-3b1c1a2d4e5f".to_owned(),
        name: Some("debian-12".to_owned()),
        status: Status::Active,
        visibility: Visibility::Shared,
        protected: false,
        hidden: false,
        owner: Some("p1".to_owned()),
        checksum: None,
        os_hash_algo: None,
        os_hash_value: None,
        size: Some(2 << 30),
        virtual_size: None,
        disk_format: Some("qcow2".to_owned()),
        container_format: Some("bare".to_owned()),
        min_disk: 0,
        min_ram: 0,
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(0),
        properties: vec![("os_distro".to_owned(), "debian".to_owned())],
        tags: Vec::new(),
        locations: Vec::new(),
    }
}
