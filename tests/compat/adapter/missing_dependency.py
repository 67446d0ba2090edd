"""An adapter whose framework was never installed: it ends before it can report anything."""

import a_framework_that_nobody_installed

a_framework_that_nobody_installed.evaluate()
