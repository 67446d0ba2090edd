from lm_eval.tasks.manager import TaskManager as TaskManager
