"""An adapter whose framework was never installed: it ends before it can report anything."""

import a_framework_that_is_not_installed

a_framework_that_is_not_installed.evaluate()
