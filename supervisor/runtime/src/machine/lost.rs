//! Losses that the end of a module causes, and its recovery: entries of the module's history.

use std::sync::Arc;

use mainstay_model::ModuleName;
use mainstay_proto::ResourceName;

use super::actor::Machine;

impl Machine {
    /// The module is about to be gone: what goes with it is written down, to be crossed out as it comes back.
    pub(super) fn lose(&mut self, module: &ModuleName) {
        let lost = self.world.lost_with(module);
        let view = self.handle.published.load();
        let Some(entry) = view.module(module.as_str()).filter(|_| !lost.is_empty()) else {
            return;
        };
        let text = |name: &ResourceName| -> Arc<str> { name.to_string().into() };
        let texts = lost
            .iter()
            .map(|(name, because)| (text(name), because.as_ref().map(text)));
        entry.history().record_lost(texts);
        for (name, _) in lost {
            self.resources.lost.entry(name).or_default().insert(module.clone());
        }
    }

    /// A resource was built.
    pub(super) fn built(&mut self, name: &ResourceName) {
        let Some(modules) = self.resources.lost.remove(name) else {
            return;
        };
        let view = self.handle.published.load();
        let text: Arc<str> = name.to_string().into();
        for entry in modules.iter().filter_map(|module| view.module(module.as_str())) {
            entry.history().built(&text);
        }
    }
}
