"""Pure builders: one per child kind, from the resource and the settings to the manifest. No decisions, no clock."""
