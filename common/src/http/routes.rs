//! The route table: every endpoint, its method and path, and the plane that serves it.
//!
//! Both planes resolve a request here: the front door to find the transfers that it serves itself, control to find
//! the handler, and either to label its metrics. `405` and its `Allow` follow from the table.

use super::query;

/// Which plane answers a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Image bytes: served at the front door.
    Data,
    /// Everything else: forwarded.
    Control,
}

macro_rules! routes {
    ($( $(#[$doc:meta])* $route:ident = $method:literal $path:literal $plane:ident; )*) => {
        /// One endpoint: a method on a path.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Route {
            $( $(#[$doc])* $route, )*
        }

        impl Route {
            /// Every route.
            pub const ALL: &'static [Route] = &[$( Route::$route, )*];

            /// Its row in the table.
            pub fn row(self) -> &'static Row {
                match self {
                    $( Route::$route => {
                        const ROW: Row = Row { route: Route::$route, method: $method, path: $path, plane: Plane::$plane };
                        &ROW
                    } )*
                }
            }
        }
    };
}

routes! {
    /// The versions document with status 300, for `/` and for whatever is not below a version.
    Root = "*" "/" Control;
    /// The versions document with status 200.
    Versions = "*" "/versions" Control;
    /// The versions document where a client looks below its endpoint.
    VersionTwo = "GET" "/v2" Control;
    /// Whether this server should get requests, without authentication.
    Healthcheck = "GET" "/healthcheck" Control;
    /// The same for load balancers that ask with HEAD.
    HealthcheckHead = "HEAD" "/healthcheck" Control;
    /// JSON schema of an image.
    SchemaImage = "GET" "/v2/schemas/image" Control;
    /// JSON schema of a list of images.
    SchemaImages = "GET" "/v2/schemas/images" Control;
    /// JSON schema of a member.
    SchemaMember = "GET" "/v2/schemas/member" Control;
    /// JSON schema of a list of members.
    SchemaMembers = "GET" "/v2/schemas/members" Control;
    /// JSON schema of a task.
    SchemaTask = "GET" "/v2/schemas/task" Control;
    /// JSON schema of a list of tasks.
    SchemaTasks = "GET" "/v2/schemas/tasks" Control;
    /// JSON schema of a namespace of metadata definitions.
    SchemaNamespace = "GET" "/v2/schemas/metadefs/namespace" Control;
    /// JSON schema of a list of namespaces.
    SchemaNamespaces = "GET" "/v2/schemas/metadefs/namespaces" Control;
    /// JSON schema of an object of a namespace.
    SchemaObject = "GET" "/v2/schemas/metadefs/object" Control;
    /// JSON schema of a list of objects.
    SchemaObjects = "GET" "/v2/schemas/metadefs/objects" Control;
    /// JSON schema of a property of a namespace.
    SchemaProperty = "GET" "/v2/schemas/metadefs/property" Control;
    /// JSON schema of several properties.
    SchemaProperties = "GET" "/v2/schemas/metadefs/properties" Control;
    /// JSON schema of a tag of a namespace.
    SchemaTag = "GET" "/v2/schemas/metadefs/tag" Control;
    /// JSON schema of a list of tags.
    SchemaTags = "GET" "/v2/schemas/metadefs/tags" Control;
    /// JSON schema of an association with a resource type.
    SchemaResourceType = "GET" "/v2/schemas/metadefs/resource_type" Control;
    /// JSON schema of a list of associations.
    SchemaResourceTypes = "GET" "/v2/schemas/metadefs/resource_types" Control;
    /// List namespaces of metadata definitions.
    ListNamespaces = "GET" "/v2/metadefs/namespaces" Control;
    /// Make a namespace, with all that hangs on it.
    CreateNamespace = "POST" "/v2/metadefs/namespaces" Control;
    /// Show a namespace with all that hangs on it.
    ShowNamespace = "GET" "/v2/metadefs/namespaces/{namespace}" Control;
    /// Replace a namespace's own fields.
    UpdateNamespace = "PUT" "/v2/metadefs/namespaces/{namespace}" Control;
    /// Remove a namespace with all that hangs on it.
    DeleteNamespace = "DELETE" "/v2/metadefs/namespaces/{namespace}" Control;
    /// List a namespace's objects.
    ListObjects = "GET" "/v2/metadefs/namespaces/{namespace}/objects" Control;
    /// Make an object.
    CreateObject = "POST" "/v2/metadefs/namespaces/{namespace}/objects" Control;
    /// Remove all objects.
    DeleteObjects = "DELETE" "/v2/metadefs/namespaces/{namespace}/objects" Control;
    /// Show an object.
    ShowObject = "GET" "/v2/metadefs/namespaces/{namespace}/objects/{object}" Control;
    /// Replace an object.
    UpdateObject = "PUT" "/v2/metadefs/namespaces/{namespace}/objects/{object}" Control;
    /// Remove an object.
    DeleteObject = "DELETE" "/v2/metadefs/namespaces/{namespace}/objects/{object}" Control;
    /// List a namespace's properties.
    ListProperties = "GET" "/v2/metadefs/namespaces/{namespace}/properties" Control;
    /// Make a property.
    CreateProperty = "POST" "/v2/metadefs/namespaces/{namespace}/properties" Control;
    /// Remove all properties.
    DeleteProperties = "DELETE" "/v2/metadefs/namespaces/{namespace}/properties" Control;
    /// Show a property.
    ShowProperty = "GET" "/v2/metadefs/namespaces/{namespace}/properties/{property}" Control;
    /// Replace a property.
    UpdateProperty = "PUT" "/v2/metadefs/namespaces/{namespace}/properties/{property}" Control;
    /// Remove a property.
    DeleteProperty = "DELETE" "/v2/metadefs/namespaces/{namespace}/properties/{property}" Control;
    /// List a namespace's tags.
    ListNamespaceTags = "GET" "/v2/metadefs/namespaces/{namespace}/tags" Control;
    /// Make several tags, in place of the old ones or beside them.
    CreateNamespaceTags = "POST" "/v2/metadefs/namespaces/{namespace}/tags" Control;
    /// Remove all tags.
    DeleteNamespaceTags = "DELETE" "/v2/metadefs/namespaces/{namespace}/tags" Control;
    /// Show a tag.
    ShowNamespaceTag = "GET" "/v2/metadefs/namespaces/{namespace}/tags/{tag}" Control;
    /// Make a tag.
    CreateNamespaceTag = "POST" "/v2/metadefs/namespaces/{namespace}/tags/{tag}" Control;
    /// Rename a tag.
    UpdateNamespaceTag = "PUT" "/v2/metadefs/namespaces/{namespace}/tags/{tag}" Control;
    /// Remove a tag.
    DeleteNamespaceTag = "DELETE" "/v2/metadefs/namespaces/{namespace}/tags/{tag}" Control;
    /// List the resource types that a namespace is about.
    ListAssociations = "GET" "/v2/metadefs/namespaces/{namespace}/resource_types" Control;
    /// Associate a namespace with a resource type.
    CreateAssociation = "POST" "/v2/metadefs/namespaces/{namespace}/resource_types" Control;
    /// End an association.
    DeleteAssociation = "DELETE" "/v2/metadefs/namespaces/{namespace}/resource_types/{resource_type}" Control;
    /// List all resource types.
    ListResourceTypes = "GET" "/v2/metadefs/resource_types" Control;
    /// List images.
    ListImages = "GET" "/v2/images" Control;
    /// Create an image without data.
    CreateImage = "POST" "/v2/images" Control;
    /// Show an image.
    ShowImage = "GET" "/v2/images/{image}" Control;
    /// Change an image.
    UpdateImage = "PATCH" "/v2/images/{image}" Control;
    /// Delete an image and its data.
    DeleteImage = "DELETE" "/v2/images/{image}" Control;
    /// Upload an image's data.
    UploadImage = "PUT" "/v2/images/{image}/file" Data;
    /// Download an image's data.
    DownloadImage = "GET" "/v2/images/{image}/file" Data;
    /// Upload an image's data into the staging area.
    StageImage = "PUT" "/v2/images/{image}/stage" Data;
    /// Bring staged, remote or stored data into stores.
    ImportImage = "POST" "/v2/images/{image}/import" Control;
    /// The tasks of an image.
    ListImageTasks = "GET" "/v2/images/{image}/tasks" Control;
    /// Attach data that lies in a store already.
    AddLocation = "POST" "/v2/images/{image}/locations" Control;
    /// Where an image's data lies.
    ListLocations = "GET" "/v2/images/{image}/locations" Control;
    /// Remove an image's data from one store.
    RemoveFromStore = "DELETE" "/v2/stores/{store}/{image}" Control;
    /// List tasks.
    ListTasks = "GET" "/v2/tasks" Control;
    /// Make an image and fill it from a URL.
    CreateTask = "POST" "/v2/tasks" Control;
    /// Show a task.
    ShowTask = "GET" "/v2/tasks/{task}" Control;
    /// Refused: tasks go by themselves.
    DeleteTask = "DELETE" "/v2/tasks/{task}" Control;
    /// Forbid downloads.
    DeactivateImage = "POST" "/v2/images/{image}/actions/deactivate" Control;
    /// Allow them again.
    ReactivateImage = "POST" "/v2/images/{image}/actions/reactivate" Control;
    /// Add a tag.
    AddTag = "PUT" "/v2/images/{image}/tags/{tag}" Control;
    /// Remove a tag.
    RemoveTag = "DELETE" "/v2/images/{image}/tags/{tag}" Control;
    /// List members.
    ListMembers = "GET" "/v2/images/{image}/members" Control;
    /// Offer an image to a project.
    AddMember = "POST" "/v2/images/{image}/members" Control;
    /// Show a member.
    ShowMember = "GET" "/v2/images/{image}/members/{member}" Control;
    /// Accept or reject an offered image.
    UpdateMember = "PUT" "/v2/images/{image}/members/{member}" Control;
    /// Withdraw an offer.
    RemoveMember = "DELETE" "/v2/images/{image}/members/{member}" Control;
    /// Import methods.
    InfoImport = "GET" "/v2/info/import" Control;
    /// Stores.
    InfoStores = "GET" "/v2/info/stores" Control;
    /// Stores with their properties, for administrators.
    InfoStoresDetail = "GET" "/v2/info/stores/detail" Control;
    /// Usage against the limits of the caller's project.
    InfoUsage = "GET" "/v2/info/usage" Control;
    /// What is cached.
    ShowCache = "GET" "/v2/cache" Control;
    /// Empty the cache.
    ClearCache = "DELETE" "/v2/cache" Control;
    /// Remove what failed to be cached.
    CleanCache = "POST" "/v2/cache/clean" Control;
    /// Bring the cache down to its size.
    PruneCache = "POST" "/v2/cache/prune" Control;
    /// Which servers have an image in their cache.
    CacheNodes = "GET" "/v2/cache/nodes/{image}" Control;
    /// Take an image out of the cache.
    UncacheImage = "DELETE" "/v2/cache/{image}" Control;
    /// Have an image cached.
    CacheImage = "PUT" "/v2/cache/{image}" Control;
    /// What is cached, by the older interface, which has no 405.
    CachedImages = "*" "/v2/cached_images" Control;
    /// One cached image, likewise.
    CachedImage = "*" "/v2/cached_images/{image}" Control;
    /// What is to be cached, likewise.
    QueuedImages = "*" "/v2/queued_images" Control;
    /// One image that is to be cached, likewise.
    QueuedImage = "*" "/v2/queued_images/{image}" Control;
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The endpoint.
    pub route: Route,
    /// Its method; `*` takes any.
    pub method: &'static str,
    /// Its path; `{name}` stands for one segment. Also the `route` label in metrics.
    pub path: &'static str,
    /// Who serves it.
    pub plane: Plane,
}

impl Route {
    /// The path pattern: the `route` label in metrics and logs.
    pub fn label(self) -> &'static str {
        self.row().path
    }

    /// Who serves it.
    pub fn plane(self) -> Plane {
        self.row().plane
    }
}

/// Which versions of the API this server offers: some stand and fall with a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// Several stores are configured (`enabled_backends`).
    pub multi_store: bool,
    /// The image cache is configured.
    pub cache: bool,
}

impl Offered {
    /// Whether `v2.<minor>` may stand in a path.
    pub fn minor(self, minor: u32) -> bool {
        match minor {
            0..=7 | 9 | 15 | 17 => true,
            8 | 10..=13 => self.multi_store,
            14 | 16 | 18 => self.cache,
            _ => false,
        }
    }
}

/// What a method and a path come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// This endpoint, with the decoded values of the pattern's variables, in order.
    Found(Route, Vec<String>),
    /// The path exists with other methods.
    WrongMethod {
        /// The methods for `Allow`, comma-separated.
        allow: String,
        /// Some route with this path, for its label.
        route: Route,
    },
    /// A path below a version that nobody knows.
    NotFound,
    /// The path holds octets that are not UTF-8 once decoded.
    Undecodable,
}

/// Media type by which a client may choose a version without a prefix in the path.
const VERSION_MEDIA_TYPE: &str = "application/vnd.openstack.images-v";

/// Finds the endpoint of a request. `path` is the target without its query, still percent-encoded; `accept` the value
/// of the header, where there is one.
pub fn resolve(method: &str, path: &str, accept: Option<&str>, offered: Offered) -> Resolution {
    let Some(mut segments) = decode_segments(path) else { return Resolution::Undecodable };
    skip_empty(&mut segments, 0);
    match segments.first().map(String::as_str) {
        None => found(Route::Root),
        // Glance mounts both, so that whatever stands below them is answered alike.
        Some("versions") => found(Route::Versions),
        Some("healthcheck") => match_table(method, &segments[..1]),
        Some(first) if is_offered_version(first, offered) => {
            let mut below = segments;
            "v2".clone_into(&mut below[0]);
            skip_empty(&mut below, 1);
            match_table(method, &below)
        }
        Some(_) => match accept.and_then(|value| value.strip_prefix(VERSION_MEDIA_TYPE)) {
            Some(version) if is_offered_version(&format!("v{version}"), offered) => {
                let mut below = segments;
                below.insert(0, "v2".to_owned());
                match_table(method, &below)
            }
            _ => found(Route::Root),
        },
    }
}

fn found(route: Route) -> Resolution {
    Resolution::Found(route, Vec::new())
}

/// `/a/b` is `["a", "b"]`, `/` is `[""]`; `None` where a segment does not decode to UTF-8.
fn decode_segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(query::decode_segment).collect()
}

/// Removes the empty segments at `at`: a client whose endpoint ends in a slash sends `//v2/images` or `/v2//images`.
/// Further in, two slashes are no way that clients join paths, and lead nowhere.
fn skip_empty(segments: &mut Vec<String>, at: usize) {
    let empty = segments.iter().skip(at).take_while(|segment| segment.is_empty()).count();
    segments.drain(at..at + empty);
}

fn is_offered_version(segment: &str, offered: Offered) -> bool {
    match segment.strip_prefix("v2") {
        Some("") => true,
        Some(rest) => match rest.strip_prefix('.') {
            // No leading zeros or signs: `v2.07` is not a version.
            Some(minor) if minor.bytes().all(|b| b.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0')) => {
                minor.parse().is_ok_and(|minor| offered.minor(minor))
            }
            _ => false,
        },
        None => false,
    }
}

fn match_table(method: &str, segments: &[String]) -> Resolution {
    let mut allow = Vec::new();
    let mut label: Option<Route> = None;
    for route in Route::ALL {
        let row = route.row();
        // The first path that fits is meant, whichever methods it has: `clean` is no image.
        if label.is_some_and(|first| first.row().path != row.path) {
            continue;
        }
        let Some(params) = match_path(row.path, segments) else { continue };
        if row.method == method || row.method == "*" {
            return Resolution::Found(*route, params);
        }
        allow.push(row.method);
        label.get_or_insert(*route);
    }
    match label {
        Some(route) => Resolution::WrongMethod { allow: allow.join(", "), route },
        None => Resolution::NotFound,
    }
}

fn match_path(pattern: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut wanted = pattern[1..].split('/');
    for segment in segments {
        let want = wanted.next()?;
        if want.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            params.push(segment.clone());
        } else if want != segment {
            return None;
        }
    }
    wanted.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: Offered = Offered { multi_store: false, cache: false };

    fn get(path: &str) -> Resolution {
        resolve("GET", path, None, SINGLE)
    }

    #[test]
    fn endpoints_are_found_below_every_offered_version() {
        for prefix in ["/v2", "/v2.0", "/v2.9", "/v2.17"] {
            let path = format!("{prefix}/images/abc/file");
            assert_eq!(get(&path), Resolution::Found(Route::DownloadImage, vec!["abc".into()]));
        }
        for prefix in ["/v2.8", "/v2.14", "/v2.99", "/v2.01", "/v2.", "/v3", "/v20"] {
            assert_eq!(get(&format!("{prefix}/images")), found(Route::Root), "{prefix}");
        }
        let multi = Offered { multi_store: true, cache: true };
        assert_eq!(resolve("GET", "/v2.8/images", None, multi), found(Route::ListImages));
    }

    #[test]
    fn a_version_may_stand_in_the_accept_header() {
        let accept = Some("application/vnd.openstack.images-v2.2");
        assert_eq!(resolve("GET", "/images", accept, SINGLE), found(Route::ListImages));
        assert_eq!(get("/images"), found(Route::Root));
    }

    #[test]
    fn wrong_methods_tell_the_right_ones() {
        match resolve("PUT", "/v2/images/abc", None, SINGLE) {
            Resolution::WrongMethod { allow, .. } => assert_eq!(allow, "GET, PATCH, DELETE"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(resolve("HEAD", "/v2/images/abc/file", None, SINGLE), Resolution::WrongMethod { .. }));
    }

    #[test]
    fn segments_are_decoded_once_and_never_split() {
        assert_eq!(get("/v2/images/a%2Fb"), Resolution::Found(Route::ShowImage, vec!["a/b".into()]));
        assert_eq!(get("/v2/images/%252e"), Resolution::Found(Route::ShowImage, vec!["%2e".into()]));
        assert_eq!(get("/v2/images/%FF"), Resolution::Undecodable);
        assert_eq!(get("/v2/images/abc/"), Resolution::NotFound);
        assert_eq!(get("/v2/images//file"), Resolution::NotFound);
        assert_eq!(get("/v2/images/%2F/file"), Resolution::Found(Route::DownloadImage, vec!["/".into()]));
    }

    #[test]
    fn the_roots_of_the_api() {
        assert_eq!(get("/"), found(Route::Root));
        assert_eq!(get("/nonsense"), found(Route::Root));
        assert_eq!(resolve("POST", "/versions", None, SINGLE), found(Route::Versions));
        assert_eq!(get("/v2"), found(Route::VersionTwo));
        assert_eq!(get("/v2/"), found(Route::VersionTwo));
        assert_eq!(get("/healthcheck"), found(Route::Healthcheck));
        assert_eq!(get("/healthcheck/"), found(Route::Healthcheck));
        assert_eq!(get("/versions/x"), found(Route::Versions));
    }

    #[test]
    fn an_endpoint_that_ends_in_a_slash_does_no_harm() {
        for path in ["//v2/images", "/v2//images", "///v2///images", "/v2.0//images"] {
            assert_eq!(get(path), found(Route::ListImages), "{path}");
        }
        assert_eq!(get("/v2//images/abc"), Resolution::Found(Route::ShowImage, vec!["abc".into()]));
        for path in ["/v2/images/", "/v2/images//", "/v2/images//abc", "/v2//images/abc//file"] {
            assert_eq!(get(path), Resolution::NotFound, "{path}");
        }
        assert_eq!(get("//"), found(Route::Root));
        assert_eq!(get("/v2//"), found(Route::VersionTwo));
    }
}
