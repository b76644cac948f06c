"""The embedded describer: frozen picture features -> soft prefix, neighbours' captions as text, SmolLM2 with LoRA.

After ClipCap (Mokady et al. 2021, arXiv:2111.09734) and SmallCap (Ramos et al. 2023, arXiv:2209.15323). ``features``
looks at the picture, ``readings`` says what linear probes read from it, ``answers`` which answers are likely;
``layout`` writes the text before the answer, ``decoder`` brings SmolLM2 into torch, ``net`` joins them, ``folder``
keeps the result on disk and ``generator`` is the plug-in. ``ragvlm.tuning.describer`` trains it.
"""
