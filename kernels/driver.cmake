# The oldest NVIDIA driver that a program built with a CUDA Toolkit of this major version works with.
#
#     nnmf_oldest_driver(RESULT MAJOR)
#
# By https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html any toolkit of
# a major version works with the driver of its first one. The versions in full stand in the toolkit's
# release notes, https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (table 2).
function(nnmf_oldest_driver result major)
  if(major EQUAL 12)
    set(${result} 525.60.13 PARENT_SCOPE)
  elseif(major EQUAL 13)
    set(${result} 580.65.06 PARENT_SCOPE)
  else()
    set(${result} "for CUDA ${major}.0" PARENT_SCOPE)
  endif()
endfunction()
