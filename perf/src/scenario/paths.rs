//! The send paths and the two drivers, each alone, on the same downloads.

use std::borrow::Cow;

use super::Scenario;
use super::{cold, warm};
use crate::compare::context::Context;
use crate::error::Result;
use crate::servers::vitrine::Variant;

const WARM: [(&str, usize); 3] = [("path warm x1", 1), ("path warm x8", 8), ("path warm x64", 64)];
const COLD: &str = "path cold x1";

const VARIANTS: [Variant; 4] = [
    Variant { name: "vitrine sendfile", settings: Cow::Borrowed("[dataplane]\nsend_path = sendfile\n"), cores: "" },
    Variant { name: "vitrine copy", settings: Cow::Borrowed("[dataplane]\nsend_path = copy\n"), cores: "" },
    Variant { name: "vitrine direct", settings: Cow::Borrowed("[dataplane]\nsend_path = direct\n"), cores: "" },
    Variant { name: "vitrine epoll", settings: Cow::Borrowed("[dataplane]\ndriver = epoll\n"), cores: "" },
];

/// Send paths and drivers.
pub(super) const SCENARIO: Scenario = Scenario { name: "paths", rows: &[WARM[0].0, WARM[1].0, WARM[2].0, COLD], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let mut contenders = vec![context.vitrine()?];
    for variant in &VARIANTS {
        contenders.extend(context.variant(variant)?);
    }
    let path = context.image_path();
    for _ in 0..context.plan.rounds {
        for (row, connections) in WARM {
            warm::whole(context, row, &contenders, connections)?;
        }
        if context.wants(COLD) {
            for contender in &contenders {
                cold::turn(context, COLD, contender, &path)?;
            }
        }
    }
    Ok(())
}
