//! Opens the layers that the options name.

use layerstack::{DirLayerOptions, LayerStack, Overlay, OverlayOptions, XattrNamespace};

use crate::args::Args;

pub(crate) fn open(args: &Args) -> Result<LayerStack, Box<dyn std::error::Error>> {
    let mut dirs = DirLayerOptions::new();
    let mut options = OverlayOptions::new().umask(0);
    let (mut lower, mut upper, mut work) = (None, None, None);
    for word in &args.options {
        match word.split_once('=') {
            Some(("lowerdir", value)) => lower = Some(value),
            Some(("upperdir", value)) => upper = Some(value),
            Some(("workdir", value)) => work = Some(value),
            None if word == "userxattr" => dirs = dirs.namespace(XattrNamespace::User),
            None if word == "volatile" => options = options.durable(false),
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    let lower = lower.ok_or("lowerdir= is missing")?;
    let lowers = lower
        .split(':')
        .map(|dir| dirs.open_lower(dir))
        .collect::<Result<Vec<_>, _>>()?;
    let lowers = LayerStack::from_top(lowers)?;
    Ok(match (upper, work) {
        (None, _) => (*Overlay::read_only(&lowers)?).clone(),
        (Some(_), None) => return Err("upperdir= needs workdir=".into()),
        (Some(upper), Some(work)) => {
            let upper = dirs.open_upper(upper, work)?;
            (*Overlay::with_options(&lowers, upper, options)?).clone()
        }
    })
}
