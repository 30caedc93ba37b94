"""What passes between the parts of Fovea, named once. Standard library only, so that every image can import it."""
