"""How many of the networks of timm, torchvision and transformers can be initialized, measured one by one."""
