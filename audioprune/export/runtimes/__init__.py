"""Files that other runtimes read: ONNX graphs, eight-bit numbers in them, TorchScript."""
