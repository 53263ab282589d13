//! Opens the layers that the options name.

use layerstack::{
    DirLayerOptions, LayerStack, Overlay, OverlayOptions, RedirectDir, XattrNamespace, Xino,
};

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
            None if word == "volatile" => options = options.fsync(layerstack::Fsync::Off),
            Some((name, value)) => options = feature(options, name, value)?,
            None => return Err(format!("unknown option {word}").into()),
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

fn feature(
    options: OverlayOptions,
    name: &str,
    value: &str,
) -> Result<OverlayOptions, Box<dyn std::error::Error>> {
    let switch = match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    let bad = || format!("bad option {name}={value}");
    Ok(match name {
        "redirect_dir" => options.redirect_dir(match value {
            "on" => RedirectDir::On,
            "follow" => RedirectDir::Follow,
            "nofollow" => RedirectDir::NoFollow,
            "off" => RedirectDir::Off,
            _ => return Err(bad().into()),
        }),
        "metacopy" => options.metacopy(switch.ok_or_else(bad)?),
        "index" => options.index(switch.ok_or_else(bad)?),
        "nfs_export" => options.nfs_export(switch.ok_or_else(bad)?),
        "xino" => options.xino(match value {
            "on" => Xino::On,
            "off" => Xino::Off,
            "auto" => Xino::Auto,
            _ => return Err(bad().into()),
        }),
        _ => return Err(format!("unknown option {name}={value}").into()),
    })
}
