"""Coverage: the share of networks of timm, torchvision and transformers that can be initialized, measured one by one."""
