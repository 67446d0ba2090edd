"""An adapter whose framework is not installed: it exits before its first report."""

import a_framework_that_is_not_installed

a_framework_that_is_not_installed.evaluate()
