//! The cache's API: as Glance answers without a cache, and as with an empty one.

use super::*;

const NO_CACHE: &str = "Caching via API is not supported at this site.";
const ABSENT: &str = "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8";

/// Every endpoint but the older ones; `{image}` stands for an image.
const ENDPOINTS: [(&str, &str); 7] = [
    ("GET", "/v2/cache"),
    ("DELETE", "/v2/cache"),
    ("POST", "/v2/cache/clean"),
    ("POST", "/v2/cache/prune"),
    ("GET", "/v2/cache/nodes/{image}"),
    ("PUT", "/v2/cache/{image}"),
    ("DELETE", "/v2/cache/{image}"),
];

const OLDER: [(&str, &str); 7] = [
    ("GET", "/v2/cached_images"),
    ("DELETE", "/v2/cached_images"),
    ("DELETE", "/v2/cached_images/{image}"),
    ("GET", "/v2/queued_images"),
    ("DELETE", "/v2/queued_images"),
    ("PUT", "/v2/queued_images/{image}"),
    ("DELETE", "/v2/queued_images/{image}"),
];

/// What `who` gets of each of `endpoints`.
async fn answers(site: &Site, who: &Identity, endpoints: &[(&str, &str)], image: &str) -> Vec<Answer> {
    let mut all = Vec::new();
    for (method, path) in endpoints {
        all.push(site.ask(who, method, &path.replace("{image}", image), &Value::Null).await);
    }
    all
}

#[tokio::test]
async fn without_a_cache_there_is_none_for_anybody() {
    let site = Site::new();
    let image = site.located(&admin(), Vec::new()).await;
    assert_eq!(answers(&site, &admin(), &ENDPOINTS, &image).await, vec![(404, json!(NO_CACHE)); 7]);
    let rules = ["list", "delete", "clean", "prune", "", "image", "delete"].map(|rule| match rule {
        "" => "list_cached_nodes".to_owned(),
        rule => format!("cache_{rule}"),
    });
    let refused = rules.map(|rule| (403, json!(format!("You are not authorized to complete {rule} action."))));
    assert_eq!(answers(&site, &member("p0"), &ENDPOINTS, &image).await, refused);
    for who in [admin(), member("p0")] {
        assert_eq!(answers(&site, &who, &OLDER, &image).await, vec![(404, json!(NOT_FOUND_TEXT)); 7]);
    }
    let absent = json!(format!("Image {ABSENT} not found."));
    assert_eq!(answers(&site, &admin(), &ENDPOINTS[5..], ABSENT).await, vec![(404, absent); 2]);
}

#[tokio::test]
async fn who_may_not_get_an_image_is_told_that_the_cache_is_the_operators() {
    let site = Site::new();
    let image = site.located(&admin(), Vec::new()).await;
    let service = Identity { roles: vec!["service".to_owned()], ..member("p0") };
    let refused = ["image", "delete"]
        .map(|rule| (403, json!(format!("You are not authorized to complete cache_{rule} action."))));
    assert_eq!(answers(&site, &service, &ENDPOINTS[5..], &image).await, refused);
}

#[tokio::test]
async fn a_cache_is_empty() {
    let flavor = "[paste_deploy]\nflavor = cachemanagement\n";
    let site = Site::with_config(&format!("[DEFAULT]\nimage_cache_dir = /var/lib/cache\n{flavor}"));
    let image = site.located(&admin(), Vec::new()).await;
    let expected = [
        (200, json!({"cached_images": [], "queued_images": []})),
        (204, Value::Null),
        (200, Value::Null),
        (200, json!({"total_files_pruned": 0, "total_bytes_pruned": 0})),
        (200, json!([])),
        (202, Value::Null),
        (204, Value::Null),
    ];
    assert_eq!(answers(&site, &admin(), &ENDPOINTS, &image).await, expected);
    let (none, zero) = ((200, Value::Null), (200, json!({"num_deleted": 0})));
    let (cached, queued) = ((200, json!({"cached_images": []})), (200, json!({"queued_images": []})));
    let expected = [cached, zero.clone(), none.clone(), queued, zero, none.clone(), none];
    assert_eq!(answers(&site, &admin(), &OLDER, &image).await, expected);
    assert_eq!(site.ask(&admin(), "PUT", "/v2/cached_images/x", &Value::Null).await.0, 404);
    assert_eq!(site.ask(&admin(), "POST", "/v2/queued_images", &Value::Null).await.0, 404);

    let absent = (404, json!(format!("Image {ABSENT} not found.")));
    assert_eq!(answers(&site, &admin(), &ENDPOINTS[4..], ABSENT).await, vec![absent; 3]);
    let queued = site.create(&admin(), json!({})).await;
    let text = json!("Only images with status active can be targeted for queueing");
    assert_eq!(site.ask(&admin(), "PUT", &format!("/v2/cache/{queued}"), &Value::Null).await, (400, text));

    for (target, status) in [("", 204), ("cache", 204), ("Queue", 204), ("both", 400)] {
        let request = Site::request("DELETE", "/v2/cache").header("x-image-cache-clear-target", target);
        let (head, body) = site.send(request, b"").await;
        assert_eq!(head.status.as_u16(), status, "{target}");
        assert_eq!(body.contains("must be 'cache', 'queue' or empty string."), status == 400, "{body}");
    }
    let (head, _) = site.send(Site::request("GET", "/v2.18/cache"), b"").await;
    assert_eq!(head.status.as_u16(), 200, "a version with a cache");
    let (head, _) = site.send(Site::request("GET", "/v2/cache"), b"body").await;
    assert_eq!(head.status.as_u16(), 400);
}

#[tokio::test]
async fn each_server_may_know_of_its_own_cache_only() {
    let site = Site::with_config("[DEFAULT]\nimage_cache_dir = /var/lib/cache\nimage_cache_driver = sqlite\n");
    let answer = site.ask(&admin(), "GET", &format!("/v2/cache/nodes/{ABSENT}"), &Value::Null).await;
    assert_eq!(answer, (409, json!("Centralized caching is not enabled")));
    assert_eq!(answers(&site, &admin(), &OLDER[..1], ABSENT).await, [(404, json!(NOT_FOUND_TEXT))], "another flavor");
}
