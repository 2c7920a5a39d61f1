//! What is done to data on its way from the staging area into stores: the import plug-ins.

use std::time::Duration;

use super::settings::Settings;

const OPTION_GROUP: &str = "image_import_opts";
const OPTION: &str = "image_import_plugins";

/// Names of plug-ins in the configuration; `no_op` does nothing.
const NAMES: [(&str, Option<Plugin>); 4] = [
    ("image_conversion", Some(Plugin::Convert)),
    ("inject_image_metadata", Some(Plugin::InjectMetadata)),
    ("image_decompression", Some(Plugin::Decompress)),
    ("no_op", None),
];

/// One import plug-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Gives the image the properties of [`Plugins::inject`].
    InjectMetadata,
    /// Unpacks data that came compressed.
    Decompress,
    /// Makes the data one of [`Plugins::output_format`].
    Convert,
}

/// The import plug-ins and their settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugins {
    /// What is done, in this order, each at most once.
    pub steps: Vec<Plugin>,
    /// Properties that are given to images.
    pub inject: Vec<(String, String)>,
    /// Callers with one of these roles get nothing injected.
    pub inject_ignored_roles: Vec<String>,
    /// The disk format that images are converted to.
    pub output_format: String,
    /// Create types of VMDK images that are converted.
    pub vmdk_types: Vec<String>,
    /// Bytes of memory that one decoder may have for what it has to remember.
    pub decompression_memory_bytes: u64,
    /// What one conversion may take.
    pub conversion: ConversionLimits,
}

/// What the child process of one conversion may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversionLimits {
    /// Bytes of its address space.
    pub memory_bytes: u64,
    /// Processor time.
    pub cpu: Duration,
    /// Time from its start to its end.
    pub time: Duration,
}

impl Plugins {
    /// Whether images are converted.
    pub fn convert(&self) -> bool {
        self.steps.contains(&Plugin::Convert)
    }
}

pub(super) fn resolve(settings: &Settings<'_>) -> Plugins {
    const OURS: &str = "dataplane";
    let seconds = |name| Duration::from_secs(settings.count(OURS, name));
    Plugins {
        steps: steps(settings),
        inject: settings.pairs("inject_metadata_properties", "inject"),
        inject_ignored_roles: settings.list("inject_metadata_properties", "ignore_user_roles"),
        output_format: settings.text("image_conversion", "output_format").unwrap_or_default(),
        vmdk_types: settings.list("image_format", "vmdk_allowed_types"),
        decompression_memory_bytes: settings.count(OURS, "decompression_memory_bytes_max"),
        conversion: ConversionLimits {
            memory_bytes: settings.count(OURS, "conversion_memory_bytes_max"),
            cpu: seconds("conversion_cpu_seconds"),
            time: seconds("conversion_timeout_seconds"),
        },
    }
}

fn steps(settings: &Settings<'_>) -> Vec<Plugin> {
    let mut steps = Vec::new();
    for name in settings.list(OPTION_GROUP, OPTION) {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, Some(step))) if steps.contains(step) => {
                settings.bad(OPTION_GROUP, &[OPTION_GROUP], OPTION, &name, "each plug-in once");
            }
            Some((_, step)) => steps.extend(*step),
            None => {
                let accepted = format!("a list in brackets of {}", NAMES.map(|(known, _)| known).join(", "));
                settings.bad(OPTION_GROUP, &[OPTION_GROUP], OPTION, &name, &accepted);
            }
        }
    }
    steps
}
