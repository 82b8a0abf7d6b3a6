"""Options that name models to put together: --ensemble, or --verbs and --nouns."""

from absl import flags

from keras_actionformer.errors import UserError

flags.disclaim_key_flags()  # they are those of the verb that defines them, and in its help


def define_several():
    """Defines them.

    Returns:
      dict of absl's holders by name.
    """
    return {
        "ensemble": flags.DEFINE_list(
            "ensemble", None, "Instead: runs or presets of the same classes, to take the mean of."
        ),
        "verbs": flags.DEFINE_list(
            "verbs", None, "Instead: a run or preset of EPIC's verbs (or several), with --nouns."
        ),
        "nouns": flags.DEFINE_list("nouns", None, "With --verbs: likewise, of its nouns."),
    }


def given_several(holders):
    """What `open_several` takes of the options that the command line has, or None.

    Raises:
      UserError: they do not go together, or a name is empty.
    """
    given = {name: flag.value for name, flag in holders.items() if flag.value is not None}
    if set(given) not in (set(), {"ensemble"}, {"verbs", "nouns"}):
        raise UserError("Give --ensemble alone, or --verbs and --nouns, which belong together.")
    for name, values in given.items():
        if not values or not all(values):
            raise UserError(
                f"--{name}={','.join(values)} must name runs or presets with commas between."
            )
    return given or None
