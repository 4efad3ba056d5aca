"""What a module from anywhere needs to be worked on as it is.

* example.py: inputs from shapes (``model.example``), and one output of several (``model.output``)
* adopt.py: a built module is looked at, completed and refused where it cannot be handled
* trial.py: one pass of the example through the model, whose failure names the layer
"""
