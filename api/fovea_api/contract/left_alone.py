"""Names of files and folders that are no user's data, whatever the data are."""

HIDDEN = ".*"
"""Pattern of names that are left alone in any folder of data, without a word."""
NO_FOLDERS_OF_A_USER = frozenset(
    {"__MACOSX", "lost+found", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"}
)
"""What archives of macOS, file systems and network storage put beside the user's folders: left alone as well."""
